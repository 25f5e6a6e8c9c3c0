"use strict";
// A file of its own, because the page's policy lets no script stand in the page.
SwaggerUIBundle({
  url: "openapi.yaml",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null, // asks nobody whether the description is valid
});
