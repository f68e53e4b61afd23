/** The service worker: keeps the page, so that it opens without a network and shows what this device holds. It touches nothing under /v1. */

declare const KEPT: string[];
declare const VERSION: string;

const CACHE = `homing-${VERSION}`;
const NETWORK_MS = 3_000;
const worker = self as unknown as ServiceWorkerGlobalScope;

worker.addEventListener("install", (event) => {
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(KEPT)).then(() => worker.skipWaiting()));
});

worker.addEventListener("activate", (event) => {
  const old = caches.keys().then((names) => Promise.all(names.filter((name) => name.startsWith("homing-") && name !== CACHE).map((name) => caches.delete(name))));
  event.waitUntil(old.then(() => worker.clients.claim()));
});

worker.addEventListener("fetch", (event) => {
  const url = new URL(event.request.url);
  if (event.request.method !== "GET" || url.origin !== worker.location.origin) return;
  if (event.request.mode === "navigate" && ["/", "/demo"].includes(url.pathname)) event.respondWith(page(event.request));
  else if (url.pathname.startsWith("/assets/") || KEPT.includes(url.pathname)) event.respondWith(kept(event.request));
});

/** The newest page if it comes soon, else the one that is kept. */
async function page(request: Request): Promise<Response> {
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), NETWORK_MS);
  try {
    const response = await fetch(request, { signal: abort.signal });
    if (response.ok) return response;
  } catch {
    // there is no network, or no node
  } finally {
    clearTimeout(timer);
  }
  return (await caches.match("/")) ?? Response.error();
}

async function kept(request: Request): Promise<Response> {
  return (await caches.match(request)) ?? fetch(request);
}
