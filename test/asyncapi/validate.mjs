// Prints what the official parser, installed in a folder, has to say of AsyncAPI documents, a line each:
// node validate.mjs FOLDER DOCUMENT...
import { createRequire } from 'node:module';

const [folder, ...files] = process.argv.slice(2);
const { Parser, fromFile } = createRequire(`${folder}/`)('@asyncapi/parser');
for (const file of files) {
  const { diagnostics } = await fromFile(new Parser(), file).parse();
  for (const d of diagnostics) {
    if (d.code === 'asyncapi-latest-version') continue; // 3.0 is meant
    console.log(`${file}: ${d.code} at ${d.path.join('.')}: ${d.message}`);
  }
}
