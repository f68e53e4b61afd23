/** What opens over the page: which dialog it is, and where the focus goes when the last one closes. */

import { useLayoutEffect, useRef } from "preact/hooks";

import { Contacts } from "./contacts";
import { Devices } from "./devices";
import { GroupDialog, NewGroup } from "./group";
import { MenuDialog, Password, PrivacyDialog, Profile } from "./menu";
import { useModel, type Dialog } from "./model";
import { PersonDialog } from "./person";

export function Dialogs() {
  const { dialog } = useModel();
  const open = dialog.value;
  const opener = useRef<Element | null>(null);
  const before = useRef<Dialog>(null);
  // Where one dialog follows another, the button that opened the first of them gets the focus back.
  if (open && !before.current) opener.current = document.activeElement;
  before.current = open;
  useLayoutEffect(() => {
    const element = opener.current;
    if (open || !element) return;
    opener.current = null;
    if (element instanceof HTMLElement && element.isConnected && document.activeElement === document.body) element.focus();
  }, [open]);
  switch (open) {
    case "group": return <NewGroup />;
    case "members": return <GroupDialog />;
    case "person": return <PersonDialog />;
    case "menu": return <MenuDialog />;
    case "profile": return <Profile />;
    case "password": return <Password />;
    case "privacy": return <PrivacyDialog />;
    case "devices": return <Devices />;
    case "contacts": return <Contacts />;
    default: return null;
  }
}
