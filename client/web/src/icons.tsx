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

export const Pencil = () => <Icon size={18}><path d="M4 20l1-4L16.500 4.500l3 3L8 19z" /><path d="M14 7l3 3" /></Icon>;
export const Trash = () => <Icon size={18}><path d="M4.500 7h15M9.500 7V4.500h5V7M6.500 7l1 13h9l1-13" /></Icon>;
export const More = () => <Icon><circle cx="5.500" cy="12" r=".8" /><circle cx="12" cy="12" r=".8" /><circle cx="18.500" cy="12" r=".8" /></Icon>;
export const Next = () => <Icon size={18}><path d="M9.500 5.500l6.500 6.500-6.500 6.500" /></Icon>;
export const PersonIcon = () => <Icon><circle cx="12" cy="8" r="3.700" /><path d="M4.800 20c.7-4 3.300-6 7.200-6s6.500 2 7.200 6" /></Icon>;
export const Book = () => <Icon><path d="M6 3.800h11.500a1.500 1.500 0 0 1 1.500 1.500v15H7a2 2 0 0 1-2-2V5a1.200 1.200 0 0 1 1-1.200z" /><circle cx="12" cy="9.500" r="2" /><path d="M8.700 15.300c.5-1.700 1.600-2.500 3.300-2.500s2.800.8 3.300 2.500" /></Icon>;
export const Shield = () => <Icon><path d="M12 3.500l7.500 2.700v5.300c0 4.500-3 7.600-7.500 9-4.500-1.400-7.500-4.500-7.500-9V6.200z" /><path d="M9 11.800l2.200 2.200 4-4.300" /></Icon>;
export const Key = () => <Icon><circle cx="8" cy="15.500" r="4" /><path d="M11 12.500l8.500-8.500M16 7.500l3 3" /></Icon>;
export const Laptop = () => <Icon><rect x="5" y="5" width="14" height="10" rx="1.500" /><path d="M2.500 18.500h19" /></Icon>;
export const Door = () => <Icon><path d="M13.500 4H6.500a1.500 1.500 0 0 0-1.500 1.500v13A1.500 1.500 0 0 0 6.500 20h7" /><path d="M10.500 12h10M17 8.500l3.500 3.500-3.500 3.500" /></Icon>;
export const Plus = () => <Icon><path d="M12 5v14M5 12h14" /></Icon>;
export const Forbid = () => <Icon><circle cx="12" cy="12" r="8" /><path d="M6.500 6.500l11 11" /></Icon>;
export const Speech = () => <Icon><path d="M4 5.500h16v11h-8.500L7 20.500v-4H4z" /></Icon>;

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
