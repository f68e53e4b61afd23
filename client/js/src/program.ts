/** The library for programs without a build step: what `homing.js` is made of, for node of at least 20 and for a browser's console. */

export * from "./index";
export { run, type RunOptions } from "./run";
