// Bundles each test for node's own test runner, which cannot read TypeScript in the oldest node that we support (18).
import { build } from "esbuild";
import { readdirSync, rmSync } from "node:fs";

rmSync("build", { recursive: true, force: true });
const entryPoints = readdirSync("test").filter((name) => name.endsWith(".test.ts")).map((name) => `test/${name}`);
await build({ entryPoints, outdir: "build", bundle: true, platform: "node", format: "esm", target: "node18", sourcemap: "inline", outExtension: { ".js": ".test.mjs" }, entryNames: "[name]" });
