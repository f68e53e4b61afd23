// The library, built: for programs without a build step (node of at least 20). Every node serves the same at /homing.js.
export * from "../web/dist/homing.js";
