// Builds dist/ from src/: files named by what is in them, a page that names them, and a service worker that keeps them.
// `--check` builds elsewhere and fails when dist/ is not the same.
import { build } from "esbuild";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

const SCRIPT_BYTES_MAX = 150_000; // gzipped
const isCheck = process.argv.includes("--check");
const out = isCheck ? mkdtempSync(join(tmpdir(), "homing-web-")) : "dist";

async function bundle(entry, define = {}, format = entry.endsWith(".css") ? undefined : "iife") {
  const options = { entryPoints: [entry], bundle: true, minify: true, write: false, target: ["es2021"], format, external: ["node:*"], jsx: "automatic", jsxImportSource: "preact", define, legalComments: "none", charset: "utf8", logLevel: "warning" };
  return (await build(options)).outputFiles[0].contents;
}

function put(name, data) {
  mkdirSync(join(out, name, ".."), { recursive: true });
  writeFileSync(join(out, name), data);
  return name;
}

function hashed(name, data) {
  const [stem, end] = name.split(".");
  return put(`assets/${stem}-${createHash("sha256").update(data).digest("hex").slice(0, 12)}.${end}`, data);
}

function files(folder) {
  return readdirSync(folder, { withFileTypes: true }).flatMap((item) => (item.isDirectory() ? files(join(folder, item.name)) : [join(folder, item.name)])).sort();
}

rmSync(out, { recursive: true, force: true });
const script = await bundle("src/main.tsx");
const scriptBytes = gzipSync(script, { level: 9 }).length;
const app = hashed("app.js", script);
const style = hashed("style.css", await bundle("src/style.css"));
for (const name of readdirSync("public")) if (name !== "index.html") put(name, readFileSync(join("public", name)));
const page = readFileSync("public/index.html", "utf8").replace("{{app}}", `/${app}`).replace("{{style}}", `/${style}`);
put("index.html", page);
put("homing.js", await bundle("../js/src/program.ts", {}, "esm")); // the library for programs without a build step
const kept = ["/", `/${app}`, `/${style}`, "/manifest.webmanifest", "/icon.svg"];
const version = createHash("sha256").update(page).digest("hex").slice(0, 12);
put("sw.js", await bundle("src/sw.ts", { KEPT: JSON.stringify(kept), VERSION: JSON.stringify(version) }));

if (scriptBytes > SCRIPT_BYTES_MAX) throw new Error(`the script has ${scriptBytes} bytes gzipped, ${SCRIPT_BYTES_MAX} are allowed`);
if (isCheck) {
  const [now, then] = [out, "dist"].map((folder) => files(folder).map((file) => [file.slice(folder.length), readFileSync(file, "base64")]));
  rmSync(out, { recursive: true });
  if (JSON.stringify(now) !== JSON.stringify(then)) {
    console.error("client/web/dist is not what its source makes: run `npm run build` in client/web and commit what it writes");
    process.exit(1);
  }
}
console.log(`${isCheck ? "dist is current" : "built dist"}: script ${scriptBytes} bytes gzipped`);
