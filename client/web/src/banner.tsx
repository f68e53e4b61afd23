/** The connection, as long as it is not what it should be: until the device has really caught up. */

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";

import { useModel } from "./model";

const PATIENCE_MS = 700;

export function Banner() {
  const { connection, refusal, storeTrouble, theClient } = useModel();
  const { state, reason, retryAt } = connection.value;
  const now = useSignal(Date.now());
  const isLate = useSignal(false);
  useEffect(() => {
    if (state === "live" || state === "idle") {
      isLate.value = false;
      return undefined;
    }
    // What is over in a moment is not worth a flash.
    const late = setTimeout(() => (isLate.value = true), PATIENCE_MS);
    const tick = setInterval(() => (now.value = Date.now()), 500);
    return () => {
      clearTimeout(late);
      clearInterval(tick);
    };
  }, [state === "live" || state === "idle"]);
  if (refusal.value) return <div class="banner"><span role="alert">{refusal.value}.</span><button onClick={() => (refusal.value = "")}>Dismiss</button></div>;
  if (storeTrouble.value && state !== "closed") return <p class="banner" role="status">{storeTrouble.value}</p>;
  if (!isLate.value || state === "live" || state === "idle") return null;
  const left = retryAt === null ? 0 : Math.max(0, Math.ceil((retryAt - now.value) / 1000));
  const text =
    state === "syncing" ? "Catching up …"
    : state === "connecting" ? "Connecting …"
    : state === "waiting" ? `${navigator.onLine ? "No connection" : "You are offline"}. Messages wait here until it is back.`
    : `Disconnected: ${reason || "closed"}.`;
  return (
    <div class={`banner banner-${state}`}>
      <span class="pulse" aria-hidden="true" />
      <span role="status">{text}</span>
      {state === "waiting" && left > 1 && <span class="banner-wait" aria-hidden="true">{left} s</span>}
      {(state === "waiting" || state === "closed") && <button onClick={() => theClient().connect()}>Try now</button>}
    </div>
  );
}
