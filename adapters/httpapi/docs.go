package httpapi

import (
	"bytes"
	"compress/gzip"
	"embed"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"
	"github.com/swaggest/swgui/v5/static"

	description "hexorders/docs/api"
)

// The description of the API, and Swagger UI to read it and to try it out. The page and its parts come from the program,
// and the browser is told to load nothing from elsewhere.

//go:embed swagger
var swagger embed.FS

// docsPolicy is a Content-Security-Policy. Swagger UI sets styles on its elements and draws its icons as data.
const docsPolicy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; " +
	"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// docsFiles are what the page loads. Those of the library are stored compressed.
var docsFiles = map[string]struct {
	in        fs.FS
	stored    string
	mediaType string
}{
	"start.js":             {swagger, "swagger/start.js", "text/javascript; charset=utf-8"},
	"swagger-ui-bundle.js": {static.FS, "swagger-ui-bundle.js.gz", "text/javascript; charset=utf-8"},
	"swagger-ui.css":       {static.FS, "swagger-ui.css.gz", "text/css; charset=utf-8"},
	"favicon-32x32.png":    {static.FS, "favicon-32x32.png", "image/png"},
}

func (a *api) describe(c *gin.Context) error {
	writeFile(c, "application/yaml", description.OpenAPI) // RFC 9512
	return nil
}

func (a *api) showDescription(c *gin.Context) error {
	page, err := fs.ReadFile(swagger, "swagger/index.html")
	if err != nil {
		return fmt.Errorf("read the page: %w", err)
	}
	c.Header("Content-Security-Policy", docsPolicy)
	writeFile(c, "text/html; charset=utf-8", page)
	return nil
}

func (a *api) showDescriptionPart(c *gin.Context) error {
	file, ok := docsFiles[c.Param("file")]
	if !ok {
		return errNoSuchPath
	}
	content, err := fs.ReadFile(file.in, file.stored)
	if err != nil {
		return fmt.Errorf("read a part of the page: %w", err)
	}
	if strings.HasSuffix(file.stored, ".gz") {
		c.Header("Vary", "Accept-Encoding")
		if strings.Contains(c.GetHeader("Accept-Encoding"), "gzip") {
			c.Header("Content-Encoding", "gzip")
		} else if content, err = decompress(content); err != nil {
			return fmt.Errorf("decompress a part of the page: %w", err)
		}
	}
	c.Header("Cache-Control", "max-age=3600") // it changes with the program only, and is large
	writeFile(c, file.mediaType, content)
	return nil
}

func decompress(content []byte) ([]byte, error) {
	reader, err := gzip.NewReader(bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(reader)
}

func writeFile(c *gin.Context, mediaType string, content []byte) {
	c.Header("X-Content-Type-Options", "nosniff")
	write(c, http.StatusOK, mediaType, content)
}
