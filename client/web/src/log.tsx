/**
 * The rows of a conversation: a list that keeps at most `ROWS_MAX` of them in the page and stays where it is when others are put above or
 * below. Knows rows and pixels, nothing of the client.
 *
 * Laws:
 *   - Before the window moves, a visible row is remembered with its place; afterwards it is at the same place.
 *   - At the end the list follows what comes; anywhere else nothing moves.
 */

import { Component, createRef, type ComponentChildren } from "preact";

import type { Row } from "./timeline";

export const ROWS_MAX = 60;
const STEP = 20;
const END_PX = 48;

interface Props {
  rows: Row[];
  render: (row: Row, before: Row | undefined, after: Row | undefined) => ComponentChildren;
  /** The row to open at, once it is there. */
  openAt: string | null;
  /** Nothing can be loaded above. */
  complete: boolean;
  /** The last row is the conversation's newest. */
  hasNewest: boolean;
  older: () => void;
  newest: () => void;
  /** The last row that can be seen, whenever that changes. */
  seen: (row: Row) => void;
  head: ComponentChildren;
  foot: (away: boolean, jump: () => void) => ComponentChildren;
  label: string;
}
interface State {
  top: number;
  count: number;
  isAway: boolean;
}
interface Anchor {
  key: string;
  y: number;
}

export class MessageLog extends Component<Props, State> {
  override state: State = { top: 0, count: ROWS_MAX, isAway: false };
  private readonly box = createRef<HTMLDivElement>();
  private anchor: Anchor | null = null;
  private atEnd = true;
  private isOpened = false;
  private lastTop = 0;
  private frame = 0;
  private readonly resized = new ResizeObserver(() => {
    if (this.atEnd) this.toEnd();
    this.onScroll();
  });

  override componentDidMount(): void {
    this.resized.observe(this.box.current!);
    document.addEventListener("visibilitychange", this.onVisible);
    this.open();
    this.settle();
  }

  override componentWillUnmount(): void {
    this.resized.disconnect();
    document.removeEventListener("visibilitychange", this.onVisible);
    cancelAnimationFrame(this.frame);
  }

  /** Rows were put above or taken away: the window follows the row that it began with. */
  override componentWillReceiveProps(next: Props): void {
    const { rows } = this.props;
    if (next.rows === rows) return;
    const first = rows[this.state.top];
    let top = first ? next.rows.findIndex((row) => row.key === first.key) : 0;
    if (top < 0) top = this.state.top;
    if (this.atEnd || !this.isOpened) top = next.rows.length - ROWS_MAX;
    this.setState({ top: clamp(top, 0, Math.max(0, next.rows.length - ROWS_MAX)) });
  }

  override componentWillUpdate(): void {
    this.anchor = this.atEnd && this.isOpened ? null : this.visibleAnchor();
  }

  override componentDidUpdate(): void {
    if (!this.isOpened) this.open();
    else if (this.atEnd) this.toEnd();
    else this.restore();
    this.settle();
  }

  // ---------------------------------------------------------------- where it is

  private open(): void {
    const { rows, openAt } = this.props;
    if (!rows.length) return;
    this.isOpened = true;
    const at = openAt === null ? -1 : rows.findIndex((row) => row.key === openAt);
    if (at < 0) {
      this.setState({ top: Math.max(0, rows.length - ROWS_MAX) }, () => this.toEnd());
      return;
    }
    this.atEnd = false;
    this.setState({ top: clamp(at - STEP, 0, Math.max(0, rows.length - ROWS_MAX)) }, () => {
      const box = this.box.current;
      const row = this.element(openAt!);
      if (!box || !row) return;
      this.anchor = null;
      box.scrollTop += row.getBoundingClientRect().top - box.getBoundingClientRect().top - Math.min(120, box.clientHeight / 5);
      this.atEnd = this.isAtEnd();
      this.settle();
    });
  }

  private element(key: string): HTMLElement | null {
    return this.box.current?.querySelector<HTMLElement>(`[data-key="${CSS.escape(key)}"]`) ?? null;
  }

  private visibleAnchor(): Anchor | null {
    const box = this.box.current;
    if (!box) return null;
    const edge = box.getBoundingClientRect().top;
    for (const row of box.querySelectorAll<HTMLElement>("[data-key]")) {
      const at = row.getBoundingClientRect();
      if (at.bottom > edge + 8) return { key: row.dataset["key"]!, y: at.top };
    }
    return null;
  }

  private restore(): void {
    const row = this.anchor && this.element(this.anchor.key);
    if (row && this.box.current) this.box.current.scrollTop += row.getBoundingClientRect().top - this.anchor!.y;
    this.anchor = null;
  }

  private toEnd(): void {
    const box = this.box.current;
    if (box) box.scrollTop = box.scrollHeight;
  }

  private isAtEnd(): boolean {
    const box = this.box.current;
    if (!box || !this.props.hasNewest || this.state.top + ROWS_MAX < this.props.rows.length) return false;
    return box.scrollHeight - box.scrollTop - box.clientHeight < END_PX;
  }

  // ---------------------------------------------------------------- moving

  private readonly onVisible = (): void => this.settle();

  private readonly onScroll = (): void => {
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => this.moved());
  };

  private moved(): void {
    const box = this.box.current;
    if (!box || !this.isOpened) return;
    const { rows, hasNewest } = this.props;
    const { top } = this.state;
    const up = box.scrollTop < this.lastTop;
    this.lastTop = box.scrollTop;
    this.atEnd = this.isAtEnd();
    const margin = Math.min(500, (box.scrollHeight - box.clientHeight) / 4);
    const below = box.scrollHeight - box.scrollTop - box.clientHeight;
    if (box.scrollTop <= margin && top > 0 && (up || box.scrollTop < 4)) this.setState({ top: Math.max(0, top - STEP) });
    else if (below <= margin && top + ROWS_MAX < rows.length) this.setState({ top: Math.min(top + STEP, rows.length - ROWS_MAX) });
    else if (below <= 4 && !hasNewest) this.jump();
    this.settle();
  }

  private readonly jump = (): void => {
    this.atEnd = true;
    if (!this.props.hasNewest) this.props.newest();
    this.setState({ top: Math.max(0, this.props.rows.length - ROWS_MAX) }, () => this.toEnd());
  };

  /** Loads what lacks above, and tells what can be seen. */
  private settle(): void {
    const box = this.box.current;
    if (!box || !this.isOpened) return;
    if (this.state.top === 0 && box.scrollTop < 500 && !this.props.complete) this.props.older();
    const isAway = !this.atEnd && !this.isAtEnd();
    if (isAway !== this.state.isAway) this.setState({ isAway });
    if (document.visibilityState === "visible") this.tellSeen(box);
  }

  private tellSeen(box: HTMLElement): void {
    const edge = box.getBoundingClientRect().bottom;
    const elements = box.querySelectorAll<HTMLElement>("[data-key]");
    for (let i = elements.length - 1; i >= 0; i--) {
      const row = this.props.rows[this.state.top + i];
      if (elements[i]!.getBoundingClientRect().top < edge - 12 && row?.seq) return this.props.seen(row);
    }
  }

  override render({ rows, render, head, foot, label, complete }: Props, { top, isAway }: State) {
    const shown = rows.slice(top, top + ROWS_MAX);
    return (
      <div class="log-frame">
        <div class="log" ref={this.box} role="log" aria-live="off" aria-label={label} tabIndex={0} onScroll={this.onScroll}>
          {top === 0 && <div class="log-head">{head}</div>}
          <div class="log-rows" aria-busy={!complete && !rows.length}>
            {shown.map((row, i) => (
              <div class="row" data-key={row.key} key={row.key}>{render(row, rows[top + i - 1], rows[top + i + 1])}</div>
            ))}
          </div>
        </div>
        {foot(isAway, this.jump)}
      </div>
    );
  }
}

function clamp(value: number, low: number, high: number): number {
  return Math.max(low, Math.min(high, value));
}
