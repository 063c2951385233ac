// The page: a wall of all streams, or one of them large beside a rail of the others. What is shown is what the service
// said last; when it says nothing, the page says so and shows no stream as alive.
import { Chart, legend } from "./charts.js";
import { Picture } from "./picture.js";
import { Rain } from "./rain.js";
import { ask, forget, listen, token, unlock } from "./service.js";
import { bytes, duration, explain, label, number, plays, shownState, sum, tone, words } from "./states.js";

const $ = (id) => document.getElementById(id);
const cards = new Map(); // id -> card
let snapshot = { now: 0, streams: [], can_change: false, reload_error: null };
let alive = false;
let chosen = null; // id of the large stream
let history = emptyHistory();

const picture = new Picture($("stage"), $("picture"), $("slider"), $("divider"), $("transport"));
const rain = new Rain($("rain"));
const ageChart = new Chart($("age-chart"), "lines", "ms");
const dropChart = new Chart($("drop-chart"), "bars", "/s");

function emptyHistory() {
  return { t: [], p50: [], p99: [], firing: [], dropped: {}, log: [] };
}

// ---- what the service says

const relisten = listen(
  (heard) => {
    snapshot = heard;
    alive = true;
    $("link").dataset.state = "live";
    $("link").textContent = "live";
    banner(heard.reload_error ? `The configuration was not taken over: ${heard.reload_error}` : "");
    render();
  },
  (locked) => {
    alive = false;
    $("link").dataset.state = "gone";
    $("link").textContent = locked ? "locked" : "service gone";
    banner(locked ? "" : "The service does not answer. What you see is what it said last; trying again every second.");
    if (locked && !$("token-dialog").open) askForToken();
    render();
  },
);

/** A stream as it is to be shown: without a service nobody knows whether it lives. */
function shown(stream) {
  return alive
    ? { ...stream, state: shownState(stream) }
    : { ...stream, state: "unknown", message: "The service does not answer." };
}

function banner(text) {
  $("banner").textContent = text;
  $("banner").hidden = !text;
}

// ---- drawing

function render() {
  tally();
  const ids = new Set(snapshot.streams.map((one) => one.id));
  for (const [id, card] of cards) {
    if (!ids.has(id)) {
      card.remove();
      cards.delete(id);
    }
  }
  for (const stream of snapshot.streams) {
    if (!cards.has(stream.id)) cards.set(stream.id, newCard(stream.id));
    fill(cards.get(stream.id), shown(stream));
  }
  snapshot.streams.forEach((stream, n) => {
    const card = cards.get(stream.id);
    if ($("streams").children[n] !== card) $("streams").insertBefore(card, $("streams").children[n] ?? null);
  });
  $("empty").hidden = snapshot.streams.length > 0 || !alive;
  $("unlock").textContent = token() ? "Lock" : "Unlock";
  $("unlock").hidden = !snapshot.can_change && alive;
  $("add").hidden = !snapshot.can_change;
  const large = snapshot.streams.find((one) => one.id === chosen);
  $("detail").hidden = !large;
  document.body.dataset.view = large ? "one" : "wall";
  if (large) detail(shown(large));
  document.title = large ? `${large.title} · derain` : "derain";
}

function tally() {
  const counts = new Map();
  for (const stream of snapshot.streams) {
    const { state } = shown(stream);
    counts.set(state, (counts.get(state) ?? 0) + 1);
  }
  $("tally").replaceChildren(
    ...[...counts].map(([state, count]) => {
      const item = document.createElement("li");
      item.className = "state";
      item.dataset.tone = tone(state);
      item.textContent = `${count} ${label(state)}`;
      return item;
    }),
  );
}

function newCard(id) {
  const card = $("card").content.firstElementChild.cloneNode(true);
  card.href = `#/${id}`;
  card.dataset.id = id;
  return card;
}

function fill(card, stream) {
  card.dataset.tone = tone(stream.state);
  card.dataset.state = stream.state;
  if (stream.id === chosen) card.setAttribute("aria-current", "true");
  else card.removeAttribute("aria-current");
  card.querySelector(".name").textContent = stream.title;
  card.querySelector(".state").textContent = label(stream.state);
  const live = plays(stream.state);
  card.querySelector(".fps").textContent = live ? `${number(stream.fps_out)} fps` : "";
  card.querySelector(".age").textContent = live
    ? `${stream.age_ms ? `age ${number(stream.age_ms.p50, 0)} ms · ` : ""}${sum(stream.dropped)} dropped`
    : stream.message;
  const away = stream.state === "running" ? (stream.preview ? "" : "no preview") : label(stream.state);
  card.querySelector(".away").textContent = away;
}

/** Fetch the small pictures, one after the other, while somebody looks. */
async function stills() {
  for (;;) {
    for (const stream of snapshot.streams) {
      const image = cards.get(stream.id)?.querySelector("img");
      if (!alive || document.hidden || !image || !stream.preview || !plays(stream.state) || stream.id === chosen) continue;
      try {
        const headers = token() ? { Authorization: `Bearer ${token()}` } : {};
        const answer = await fetch(`api/streams/${stream.id}/still.jpg`, { headers });
        if (answer.status !== 200) continue;
        const before = image.src;
        image.src = URL.createObjectURL(await answer.blob());
        image.hidden = false;
        if (before.startsWith("blob:")) URL.revokeObjectURL(before);
      } catch {
        // the service is away; the events say so
      }
    }
    await new Promise((done) => setTimeout(done, 1500));
  }
}

function detail(stream) {
  $("title").textContent = stream.title;
  $("state").textContent = label(stream.state);
  $("state").dataset.tone = tone(stream.state);
  const to = stream.destinations.length ? stream.destinations.join(", ") : "this page only";
  $("route").textContent = `${stream.source} → ${stream.model}${stream.runtime ? ` on ${stream.runtime}` : ""} → ${to}`;
  const live = plays(stream.state);
  notice(stream);
  rainMeter(stream, live);
  numbers(stream, live);
  busy(stream, live);
  for (const button of $("actions").children) {
    const { action } = button.dataset;
    const down = ["stopped", "failed"].includes(stream.state);
    button.hidden = !snapshot.can_change || (action === "start" ? !down : action === "remove" ? !down : down);
  }
}

// Grey levels at the end of the scale. With shipped weights a dry clip gives 0.3, rendered rain of medium strength 2.3.
const HEAVY = 5;
let rainMost = HEAVY;

function rainMeter(stream, live) {
  const now = live ? picture.removed : null;
  if (now !== null) rainMost = Math.max(rainMost, now);
  const level = now === null ? 0 : now / rainMost;
  $("rain-now").textContent = number(now);
  $("rain-most").textContent = number(rainMost);
  $("rain-level").style.width = `${100 * level}%`;
  rain.set(level);
  const firing = live && stream.firing_rate !== null ? `${number(100 * stream.firing_rate)} % of its neurons fire.` : "";
  $("rain-note").textContent = `How much brightness the network takes out of this picture, of 255. ${firing}`;
}

function numbers(stream, live) {
  const rows = [
    ["Frames a second", live ? `${number(stream.fps_in)} → ${number(stream.fps_out)}` : "–", ""],
    ["Age p50 / p99", live && stream.age_ms ? `${number(stream.age_ms.p50, 0)} / ${number(stream.age_ms.p99, 0)} ms` : "–", ""],
    ["Dropped", sum(stream.dropped).toString(), counts(stream.dropped)],
    ["Resets", sum(stream.resets).toString(), counts(stream.resets)],
    ["Reconnects", stream.reconnects.toString(), ""],
    ["Restarts", stream.restarts.toString(), ""],
    ["Neurons firing", live && stream.firing_rate !== null ? `${number(100 * stream.firing_rate)} %` : "–", ""],
    ["Waiting in queues", live ? bytes(stream.queue_bytes) : "–", ""],
    ["In this state for", duration(Math.max(0, snapshot.now - stream.since)), ""],
  ];
  $("numbers").replaceChildren(
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

/** What stands over the picture where there is none, or none that is live. */
function notice(stream) {
  const running = stream.state === "running";
  const [title, text] = !running
    ? [label(stream.state), explain(stream)]
    : !stream.preview
      ? ["no preview", "preview is false for this stream"]
      : ["", picture.last ? "" : "waiting for the first picture"];
  $("stage").classList.toggle("dead", !running || !stream.preview || !picture.last);
  $("notice").hidden = !title && !text;
  $("notice").querySelector("strong").textContent = title;
  $("notice").querySelector("span").textContent = text;
}

const counts = (all) => Object.entries(all).map(([cause, n]) => `${words(cause)} ${n}`).join(", ");

function busy(stream, live) {
  const stages = Object.entries(stream.busy);
  if (!live || !stages.length) {
    $("busy").replaceChildren(nothing("Nothing is at work."));
    return;
  }
  $("busy").replaceChildren(
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

function nothing(text) {
  const item = document.createElement("p");
  item.className = "nothing";
  item.textContent = text;
  return item;
}

// ---- the past of the large stream

const AGE = [["p50", "--series-1"], ["p99", "--series-2"]];
const DROP_COLOURS = ["--series-2", "--series-4", "--series-1", "--series-3"];

async function follow() {
  for (;;) {
    const id = chosen;
    if (id && alive && !document.hidden) {
      try {
        const news = await ask("GET", `api/streams/${id}?since=${history.t.at(-1) ?? 0}&log=${history.log.at(-1)?.number ?? 0}`);
        if (id === chosen) take(news.history, news.log);
      } catch {
        // removed, or the service is away: the events say so
      }
    }
    await new Promise((done) => setTimeout(done, 1000));
  }
}

function take(news, log) {
  const known = history.t.length;
  history.t.push(...news.t);
  for (const name of ["p50", "p99", "firing"]) history[name].push(...news[name]);
  for (const [cause, values] of Object.entries(news.dropped)) {
    history.dropped[cause] ??= new Array(known).fill(0);
    history.dropped[cause].push(...values);
  }
  const old = Math.max(0, history.t.length - 700);
  if (old) {
    history.t.splice(0, old);
    for (const values of [history.p50, history.p99, history.firing, ...Object.values(history.dropped)]) values.splice(0, old);
  }
  for (const values of Object.values(history.dropped)) while (values.length < history.t.length) values.push(0);
  const ages = AGE.map(([name, colour]) => ({ name, colour, values: history[name] }));
  // what came before the network was ready says nothing about how it does, and would dwarf the rest
  const drops = Object.entries(history.dropped).filter(([cause]) => cause !== "start").map(([cause, values], n) => ({
    name: words(cause),
    colour: DROP_COLOURS[n % DROP_COLOURS.length],
    values,
  }));
  ageChart.set(history.t, ages, snapshot.now);
  dropChart.set(history.t, drops, snapshot.now);
  legend($("age-legend"), ages);
  if (drops.length) legend($("drop-legend"), drops);
  else $("drop-legend").textContent = "none in the last minutes";
  if (log.length || !$("log").children.length) {
    history.log.push(...log);
    history.log.splice(0, Math.max(0, history.log.length - 200));
    $("log").replaceChildren(...history.log.toReversed().map(entry));
    if (!history.log.length) $("log").replaceChildren(nothing("Nothing has happened yet."));
  }
}

function entry(one) {
  const item = document.createElement("li");
  const at = document.createElement("time");
  const kind = document.createElement("span");
  const text = document.createElement("span");
  at.textContent = new Date(one.at * 1000).toLocaleTimeString([], { hour12: false });
  at.title = new Date(one.at * 1000).toLocaleString();
  kind.className = "kind";
  kind.textContent = one.kind;
  kind.dataset.tone = { died: "bad", failed: "bad", lost: "warn", dead: "bad", reset: "warn", back: "good", running: "good" }[one.kind] ?? "";
  text.className = "text";
  text.textContent = one.text;
  item.append(at, kind, text);
  return item;
}

// ---- which stream is large: the address says it

function choose() {
  const id = decodeURIComponent(location.hash.replace(/^#\/?/, "")) || null;
  if (id === chosen) return;
  chosen = id;
  rainMost = HEAVY;
  history = emptyHistory();
  $("log").replaceChildren();
  ageChart.set([], [], 0);
  dropChart.set([], [], 0);
  if (id) picture.show(id, snapshot.webrtc === false ? "mjpeg" : "webrtc");
  else picture.stop();
  render();
}

// ---- changing things

function askForToken() {
  $("token-wrong").hidden = true;
  $("token").value = "";
  $("token-dialog").showModal();
}

async function change(work, wrong) {
  try {
    await work();
    return true;
  } catch (error) {
    if (error.status === 401 || error.status === 403) {
      forget();
      askForToken();
    }
    if (wrong) {
      wrong.textContent = error.message;
      wrong.hidden = false;
    } else banner(error.message);
    return false;
  }
}

$("unlock").addEventListener("click", () => {
  if (token()) {
    forget();
    render();
  } else askForToken();
});

$("token-dialog").addEventListener("submit", async (event) => {
  event.preventDefault();
  if (await change(() => unlock($("token").value.trim()), $("token-wrong"))) {
    $("token-dialog").close();
    relisten();
    render();
  } else $("token-wrong").hidden = false;
});

$("add").addEventListener("click", () => {
  if (!token()) return askForToken();
  $("add-wrong").hidden = true;
  $("add-dialog").showModal();
});

$("add-dialog").addEventListener("submit", async (event) => {
  event.preventDefault();
  const stream = { id: $("add-id").value, source: $("add-source").value };
  if ($("add-destination").value) stream.destinations = [$("add-destination").value];
  if ($("add-model").value) stream.model = $("add-model").value;
  if (await change(() => ask("POST", "api/streams", stream), $("add-wrong"))) {
    event.target.closest("dialog").close();
    event.target.reset();
    location.hash = `#/${stream.id}`;
  }
});

for (const button of document.querySelectorAll("[data-close]")) {
  button.addEventListener("click", () => button.closest("dialog").close());
}

$("actions").addEventListener("click", async (event) => {
  const action = event.target.dataset?.action;
  if (!action || !chosen) return;
  if (!token()) return askForToken();
  const id = chosen;
  const done = await change(() =>
    action === "remove" ? ask("DELETE", `api/streams/${id}`) : ask("POST", `api/streams/${id}/${action}`),
  );
  if (done && action === "remove") location.hash = "#/";
});

$("theme").addEventListener("click", () => {
  const dark = document.documentElement.dataset.theme
    ? document.documentElement.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  setTheme(dark ? "light" : "dark");
});

function setTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  localStorage.setItem("derain-theme", theme);
  ageChart.draw();
  dropChart.draw();
}

setTheme(localStorage.getItem("derain-theme") ?? "");
addEventListener("hashchange", choose);
choose();
stills();
follow();
