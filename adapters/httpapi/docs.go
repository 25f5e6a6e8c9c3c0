package httpapi

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"sync"

	"github.com/gin-gonic/gin"
	"github.com/swaggest/swgui/v5/static"

	description "hexorders/docs/api"
)

// The start page, the description of the API, and Swagger UI to read it and to try it out. The pages and their parts come
// from the program, and the browser is told to load nothing from elsewhere.

//go:embed pages
var pages embed.FS

// docsPolicy is a Content-Security-Policy. Swagger UI sets styles on its elements and draws its icons as data.
const docsPolicy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; " +
	"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// docsFiles are what the page loads. Those of the library are stored compressed.
var docsFiles = map[string]func() (*file, error){
	"start.css":            readFile(pages, "pages/start.css", "text/css; charset=utf-8"),
	"start.js":             readFile(pages, "pages/start.js", "text/javascript; charset=utf-8"),
	"swagger-ui-bundle.js": readFile(static.FS, "swagger-ui-bundle.js.gz", "text/javascript; charset=utf-8"),
	"swagger-ui.css":       readFile(static.FS, "swagger-ui.css.gz", "text/css; charset=utf-8"),
	"favicon-32x32.png":    readFile(static.FS, "favicon-32x32.png", "image/png"),
}

var (
	docsPage        = readFile(pages, "pages/index.html", "text/html; charset=utf-8")
	descriptionFile = sync.OnceValues(func() (*file, error) { return newFile("application/yaml", description.OpenAPI) }) // RFC 9512
)

// showStart answers a browser that was given the address of the service and no path.
func (a *api) showStart(c *gin.Context) error {
	c.Header("Content-Security-Policy", docsPolicy)
	return serveFile(c, a.startPage)
}

// startPage links to what is served. Its links are relative: a proxy may serve it below a path.
func (a *api) startPage() (*file, error) {
	var links strings.Builder
	link := func(served bool, href, text string) {
		if served {
			fmt.Fprintf(&links, "  <li><a href=\"%s\">%s</a></li>\n", href, text)
		}
	}
	link(a.Orders != nil, "docs", "The API, to read and to try out")
	link(a.Orders != nil, "openapi.yaml", "Its description, for tools (OpenAPI)")
	link(true, "problems", "Its problems: what each means, and what to do")
	link(a.Console != nil, "console/", "The console: the service at work")
	link(true, "livez", "Is the process there?")
	link(true, "readyz", "Can it serve?")
	link(a.Metrics != nil, "metrics", "What it does, in numbers")
	page, err := fs.ReadFile(pages, "pages/start.html")
	if err != nil {
		return nil, err
	}
	return newFile("text/html; charset=utf-8", bytes.Replace(page, []byte("LINKS\n"), []byte(links.String()), 1))
}

func (a *api) describe(c *gin.Context) error { return serveFile(c, descriptionFile) }

func (a *api) showDescription(c *gin.Context) error {
	c.Header("Content-Security-Policy", docsPolicy)
	return serveFile(c, docsPage)
}

// redirectToDescription sends a browser from /docs/ to /docs, where what the page refers to is found.
func (a *api) redirectToDescription(c *gin.Context) error {
	c.Header("Location", "../docs")
	c.Status(http.StatusPermanentRedirect)
	return nil
}

func (a *api) showDescriptionPart(c *gin.Context) error {
	read, ok := docsFiles[c.Param("file")]
	if !ok {
		return errNoSuchPath
	}
	return serveFile(c, read)
}

// file is served as it is, or compressed where that is shorter. Each form has an entity tag of its own.
type file struct {
	mediaType      string
	plain, gzipped []byte // gzipped is nil where it is not shorter
	tag            string
}

func newFile(mediaType string, plain []byte) (*file, error) {
	f := &file{mediaType: mediaType, plain: plain, tag: fmt.Sprintf("%x", sha256.Sum256(plain))[:16]}
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(plain); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	if b.Len() < len(plain) {
		f.gzipped = b.Bytes()
	}
	return f, nil
}

// readFile reads a file when it is first asked for.
func readFile(in fs.FS, name, mediaType string) func() (*file, error) {
	return sync.OnceValues(func() (*file, error) {
		content, err := fs.ReadFile(in, name)
		if err != nil {
			return nil, err
		}
		if strings.HasSuffix(name, ".gz") {
			if content, err = decompress(content); err != nil {
				return nil, err
			}
		}
		return newFile(mediaType, content)
	})
}

func decompress(content []byte) ([]byte, error) {
	reader, err := gzip.NewReader(bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(reader)
}

// serveFile answers with a file, or with 304 when the client has it. Files change with the program only: a browser keeps
// them, and asks each time whether they are still the same.
func serveFile(c *gin.Context, read func() (*file, error)) error {
	f, err := read()
	if err != nil {
		return fmt.Errorf("read a file of the program: %w", err)
	}
	content, tag := f.plain, `"`+f.tag+`"`
	if f.gzipped != nil {
		c.Header("Vary", "Accept-Encoding")
		if acceptsGzip(c.Request.Header) {
			c.Header("Content-Encoding", "gzip")
			content, tag = f.gzipped, `"`+f.tag+`-gzip"`
		}
	}
	c.Header("ETag", tag)
	c.Header("Cache-Control", "no-cache")
	for _, known := range listed(c.Request.Header, "If-None-Match") {
		if known == "*" || strings.TrimPrefix(known, "W/") == tag {
			c.Writer.Header().Del("Content-Encoding")
			c.Status(http.StatusNotModified)
			return nil
		}
	}
	write(c, http.StatusOK, f.mediaType, content)
	return nil
}
