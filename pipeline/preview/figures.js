// The figures of the large stream: its table, the work of its stages, the lines of its log.
import { bytes, duration, number, sum, words } from "./states.js";

const counts = (all) => Object.entries(all).map(([cause, n]) => `${words(cause)} ${n}`).join(", ");

/** The table of what a stream does now and has done. */
export function numbers(element, stream, live, now) {
  const rows = [
    ["Frames a second", live ? `${number(stream.fps_in)} → ${number(stream.fps_out)}` : "–", ""],
    ["Age p50 / p99", live && stream.age_ms ? `${number(stream.age_ms.p50, 0)} / ${number(stream.age_ms.p99, 0)} ms` : "–", ""],
    ["Dropped", sum(stream.dropped).toString(), counts(stream.dropped)],
    ["Resets", sum(stream.resets).toString(), counts(stream.resets)],
    ["Reconnects", stream.reconnects.toString(), ""],
    ["Restarts", stream.restarts.toString(), ""],
    ["Neurons firing", live && stream.firing_rate !== null ? `${number(100 * stream.firing_rate)} %` : "–", ""],
    ["Waiting in queues", live ? bytes(stream.queue_bytes) : "–", ""],
    ["In this state for", duration(Math.max(0, now - stream.since)), ""],
  ];
  element.replaceChildren(
    ...rows.map(([name, value, extra]) => {
      const row = document.createElement("div");
      const term = document.createElement("dt");
      const figure = document.createElement("dd");
      term.textContent = name;
      figure.textContent = value;
      if (extra) {
        const small = document.createElement("small");
        small.textContent = ` ${extra}`;
        figure.append(small);
      }
      row.append(term, figure);
      return row;
    }),
  );
}

/** A bar for each stage: how much of its time it works. */
export function busy(element, stream, live) {
  const stages = Object.entries(stream.busy);
  if (!live || !stages.length) {
    element.replaceChildren(nothing("Nothing is at work."));
    return;
  }
  element.replaceChildren(
    ...stages.map(([stage, share]) => {
      const row = document.createElement("label");
      const track = document.createElement("span");
      const bar = document.createElement("i");
      const value = document.createElement("b");
      track.className = "track";
      bar.style.width = `${Math.min(100, 100 * share)}%`;
      track.append(bar);
      value.textContent = `${Math.round(100 * share)} %`;
      row.append(stage, track, value);
      return row;
    }),
  );
}

export function nothing(text) {
  const item = document.createElement("p");
  item.className = "nothing";
  item.textContent = text;
  return item;
}

/** A line of the log. */
export function entry(one) {
  const item = document.createElement("li");
  const at = document.createElement("time");
  const kind = document.createElement("span");
  const text = document.createElement("span");
  at.textContent = new Date(one.at * 1000).toLocaleTimeString([], { hour12: false });
  at.title = new Date(one.at * 1000).toLocaleString();
  kind.className = "kind";
  kind.textContent = one.kind;
  kind.dataset.tone = { died: "bad", failed: "bad", lost: "warn", dead: "bad", reset: "warn", back: "good", running: "good", "destination lost": "bad", "destination back": "good" }[one.kind] ?? "";
  text.className = "text";
  text.textContent = one.text;
  item.append(at, kind, text);
  return item;
}
