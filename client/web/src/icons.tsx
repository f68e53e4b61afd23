/** Icons, drawn for this page: 24 units square, in the colour of the text around them. Their meaning is said by the text or label beside them. */

import type { ComponentChildren } from "preact";

function Icon({ children, size = 20 }: { children: ComponentChildren; size?: number }) {
  return (
    <svg viewBox="0 0 24 24" width={size} height={size} fill="none" stroke="currentColor" stroke-width="1.8" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">
      {children}
    </svg>
  );
}

export const Search = () => <Icon><circle cx="11" cy="11" r="6.5" /><path d="M16 16l4.5 4.5" /></Icon>;
export const Group = () => <Icon><circle cx="9" cy="8.5" r="3.5" /><path d="M2.5 19.5c.6-3.7 3-5.5 6.5-5.5s5.9 1.8 6.5 5.5" /><path d="M18.5 8v6M15.5 11h6" /></Icon>;
export const Back = () => <Icon size={22}><path d="M14.5 5l-7 7 7 7" /></Icon>;
export const Send = () => <Icon size={22}><path d="M4.5 12L20 4.5 15.5 20l-4-6.5z" /><path d="M11.5 13.5L20 4.5" /></Icon>;
export const Down = () => <Icon size={22}><path d="M5.5 9l6.5 6.5L18.5 9" /></Icon>;
export const Close = () => <Icon><path d="M6 6l12 12M18 6L6 18" /></Icon>;
export const Menu = () => <Icon><circle cx="12" cy="5.5" r=".8" /><circle cx="12" cy="12" r=".8" /><circle cx="12" cy="18.5" r=".8" /></Icon>;
export const Alert = () => <Icon size={16}><path d="M12 4l9 16H3z" /><path d="M12 10.5v4M12 17.2v.1" /></Icon>;

/** Each state of a message has a shape of its own: clock, one tick, two ticks, two ticks in a filled lozenge. */
export function Tick({ state }: { state: "queued" | "sent" | "delivered" | "read" }) {
  const label = { queued: "Waiting to be sent", sent: "Sent", delivered: "Delivered", read: "Read" }[state];
  return (
    <svg class={`tick tick-${state}`} viewBox="0 0 22 16" width="20" height="14.5" role="img" aria-label={label} fill="none" stroke="currentColor" stroke-width="1.7" stroke-linecap="round" stroke-linejoin="round">
      <title>{label}</title>
      {state === "queued" && <><circle cx="14" cy="8" r="5.6" /><path d="M14 4.8V8l2.2 1.6" /></>}
      {state === "sent" && <path d="M8 8.4l3.4 3.4L18.5 4" />}
      {state === "delivered" && <><path d="M3 8.4l3.4 3.4L13.5 4" /><path d="M10.4 10.6l1.3 1.2L18.8 4" /></>}
      {state === "read" && <><rect x="0" y="0" width="22" height="16" rx="6" fill="currentColor" stroke="none" /><g stroke="var(--tick-hole)"><path d="M4 8.4l3 3L13 4.8" /><path d="M10.6 10.3l1.1 1.1L17.8 4.8" /></g></>}
    </svg>
  );
}

/** The pigeon. */
export function Logo({ size = 40 }: { size?: number }) {
  return (
    <svg viewBox="0 0 64 64" width={size} height={size} aria-hidden="true">
      <rect width="64" height="64" rx="18" fill="#0f6b66" />
      <path d="M13 41c9 1 13-2 16-8 1.500-9 6.500-15 13-15 4.600 0 7.600 2.800 8.400 6.400L55 27l-4.700 2.600C49.600 40 42.500 48 31 48c-7.500 0-13.500-2.400-18-7z" fill="#f6f3ea" />
      <path d="M21 41.500c8 .5 14.500-2.500 18-9.500-.5 8-6.500 12.500-18 9.500z" fill="#9fd0c6" />
      <circle cx="43.600" cy="24.300" r="1.700" fill="#0f3d3a" />
    </svg>
  );
}
