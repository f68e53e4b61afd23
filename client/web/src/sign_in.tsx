/** Register and sign in. */

import { useSignal } from "@preact/signals";
import { Problem } from "homing-client";

import { Frame } from "./frame";
import { Logo } from "./icons";
import { useModel } from "./model";
import { deviceName } from "./session";

export function SignIn() {
  const { accounts, notice, signedIn, space } = useModel();
  const isNew = useSignal(space.address.get() === "#/register");
  const wrongId = space.idOf("wrong");
  const busy = useSignal(false);
  const wrong = useSignal<{ field: string; text: string } | null>(null);

  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    const form = event.currentTarget as HTMLFormElement;
    const data = new FormData(form);
    const text = (name: string): string => String(data.get(name) ?? "");
    busy.value = true;
    wrong.value = null;
    try {
      const handle = text("handle").trim();
      signedIn(isNew.value
        ? await accounts.register(handle, text("password"), text("name").trim(), deviceName())
        : await accounts.signIn(handle, text("password"), deviceName()));
    } catch (error) {
      wrong.value = explained(error);
      const field = form.elements.namedItem(wrong.value.field);
      if (field instanceof HTMLElement) field.focus();
    } finally {
      busy.value = false;
    }
  };
  const turn = (): void => {
    isNew.value = !isNew.value;
    wrong.value = null;
  };
  const at = (field: string) => (wrong.value?.field === field ? { "aria-invalid": true, "aria-describedby": wrongId } : {});

  return (
    <Frame class="door">
      <div class="door-card">
        <Logo size={56} />
        <h1>{isNew.value ? "Join Homing" : "Welcome back"}</h1>
        <p class="quiet">{isNew.value ? "Pick a handle; friends find you by it." : "Sign in to go on with your chats."}</p>
        {notice.value && <p class="note" role="status">{notice.value}</p>}
        <form onSubmit={(event) => void submit(event)}>
          <label>
            <span>Handle</span>
            <input name="handle" required minLength={3} maxLength={32} autocomplete="username" autocapitalize="none" spellcheck={false} dir="auto" {...at("handle")} />
          </label>
          {isNew.value && (
            <label>
              <span>Name <em>as others see it</em></span>
              <input name="name" maxLength={64} autocomplete="name" dir="auto" {...at("name")} />
            </label>
          )}
          <label>
            <span>Password {isNew.value && <em>at least 8 characters</em>}</span>
            <input name="password" type="password" required minLength={isNew.value ? 8 : 1} maxLength={256} autocomplete={isNew.value ? "new-password" : "current-password"} {...at("password")} />
          </label>
          {wrong.value && <p class="wrong" id={wrongId} role="alert">{wrong.value.text}</p>}
          <button class="primary" disabled={busy.value}>{busy.value ? "One moment …" : isNew.value ? "Create account" : "Sign in"}</button>
        </form>
        <p class="quiet">
          {isNew.value ? "You have an account already?" : "New here?"}{" "}
          <button class="link" type="button" onClick={turn}>{isNew.value ? "Sign in" : "Create an account"}</button>
        </p>
      </div>
    </Frame>
  );
}

function explained(error: unknown): { field: string; text: string } {
  if (!(error instanceof Problem)) return { field: "", text: String(error) };
  if (error.code === 1011) return { field: "handle", text: "Somebody has this handle already. Try another one." };
  if (error.code === 1013) return { field: "password", text: "Handle and password do not belong together." };
  if (error.code === 2003) return { field: "", text: `Too many tries. Please wait ${Math.ceil((error.retryAfterMs ?? 1000) / 1000)} seconds.` };
  const text = error.message.charAt(0).toUpperCase() + error.message.slice(1);
  return { field: error.field ?? "", text: error.field ? `${error.field.charAt(0).toUpperCase()}${error.field.slice(1)}: ${error.message}.` : text };
}
