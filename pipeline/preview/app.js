// The page: a wall of all streams, or one of them large beside a rail of the others. What is shown is what the service
// said last; when it says nothing, the page says so and shows no stream as alive.
import { askForToken, setUpChanges } from "./changes.js";
import { Chart, legend } from "./charts.js";
import { busy, entry, nothing, numbers } from "./figures.js";
import { Picture } from "./picture.js";
import { Rain } from "./rain.js";
import { ask, listen, token } from "./service.js";
import { explain, label, number, plays, shownState, sum, tone, words } from "./states.js";

const $ = (id) => document.getElementById(id);
const cards = new Map(); // id -> card
let snapshot = { now: 0, streams: [], can_change: false, reload_error: null };
let alive = false;
let chosen = null; // id of the large stream, as the address says it
let followed = null; // the same once the service has told of it: what is not there is not asked for
let told = false; // whether the service has told of its streams since one was chosen
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
    alive = told = true;
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
  followOnly(large?.id ?? null);
  $("missing").hidden = !chosen || !!large || !told || !alive;
  $("missing-id").textContent = chosen ?? "";
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
  numbers($("numbers"), stream, live, snapshot.now);
  busy($("busy"), stream, live);
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

// ---- the past of the large stream

const AGE = [["p50", "--series-1"], ["p99", "--series-2"]];
const DROP_COLOURS = ["--series-2", "--series-4", "--series-1", "--series-3"];

/** Fetch pictures and past of this stream from now on; null: of none. */
function followOnly(id) {
  if (id === followed) return;
  followed = id;
  if (id) picture.show(id, snapshot.webrtc === false ? "mjpeg" : "webrtc");
  else picture.stop();
}

async function follow() {
  for (;;) {
    const id = followed;
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

// ---- which stream is large: the address says it

function choose() {
  const id = named(location.hash.replace(/^#\/?/, "")) || null;
  if (id === chosen) return;
  chosen = id;
  told = false;
  rainMost = HEAVY;
  history = emptyHistory();
  $("log").replaceChildren();
  ageChart.set([], [], 0);
  dropChart.set([], [], 0);
  render();
}

function named(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // no id of ours
  }
}

// ---- light and dark

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

setUpChanges({ chosen: () => chosen, tell: banner, render, relisten });
setTheme(localStorage.getItem("derain-theme") ?? "");
addEventListener("hashchange", choose);
choose();
stills();
follow();
