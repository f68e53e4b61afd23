/** The devices that are signed in to the own account: this one and the others, which can be signed out from here. */

import { useSignal } from "@preact/signals";
import type { Device } from "homing-client";
import { useEffect } from "preact/hooks";

import { Laptop } from "./icons";
import { EditRow, Modal, useActions, Wrong } from "./modal";
import { useModel } from "./model";
import { whenText } from "./text";

const NAME_MAX = 64;

export function Devices() {
  const { accounts } = useModel();
  const { act, problem } = useActions();
  const devices = useSignal<Device[] | null>(null);
  const load = async (): Promise<void> => {
    const list = await accounts.devices();
    devices.value = list.sort((a, b) => Number(b.current) - Number(a.current) || b.seen_ts - a.seen_ts);
  };
  useEffect(() => void act("load", load), []);
  const change = (device: string, work: () => Promise<void>): Promise<boolean> => act(device, () => work().then(load));
  return (
    <Modal title="Devices">
      <div class="dialog-body">
        <Wrong text={problem.value} />
        {!devices.value && !problem.value && <p class="quiet center" role="status">Loading …</p>}
        <ul class="rows" aria-label="Devices">
          {devices.value?.map(({ device, name, seen_ts, current }) => {
            const what = name || "Device without a name";
            return (
              <EditRow key={device} what={what} name={name} nameMax={NAME_MAX} rename={(to) => change(device, () => accounts.renameDevice(device, to))}
                remove={current ? undefined : () => change(device, () => accounts.revokeDevice(device))} removeText="Sign out" sure="Sign this device out?">
                <span class="row-main">
                  <span class="row-icon"><Laptop /></span>
                  <span class="found-text"><b dir="auto">{what}</b><span class="quiet">{current ? "In use now" : `Last used ${whenText(seen_ts)}`}</span></span>
                </span>
                {current && <span class="tag">This device</span>}
              </EditRow>
            );
          })}
        </ul>
        <p class="quiet small">A device that is signed out loses its connection at once, and forgets your chats.</p>
      </div>
    </Modal>
  );
}
