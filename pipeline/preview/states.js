// What each state is called on the page, and its tone: good, warn, bad or idle.
const STATES = {
  running: ["good", "running"],
  starting: ["idle", "starting"],
  lost: ["warn", "source lost"],
  seeking: ["warn", "no source yet"],
  silent: ["bad", "dead: no answer"],
  restarting: ["bad", "dead: restarting"],
  failed: ["bad", "failed"],
  waiting: ["idle", "with another worker"],
  stopping: ["idle", "stopping"],
  stopped: ["idle", "stopped"],
  unknown: ["bad", "unknown"],
};

export const tone = (state) => (STATES[state] ?? ["bad"])[0];
export const label = (state) => (STATES[state] ?? ["bad", state])[1];

/** The state for the page: a process that begins and already complains is waiting for its source. */
export const shownState = ({ state, message }) => (state === "starting" && message ? "seeking" : state);
export const plays = (state) => state === "running" || state === "lost";

/** One line under the name of a state: why it is so and what comes next. */
export function explain(stream) {
  if (stream.state === "restarting" && stream.next_start > 0) {
    return `${stream.message} Next start in ${Math.ceil(stream.next_start)} s.`;
  }
  return stream.message || "";
}

/** A number for people: few digits, and none that are not there. */
export function number(value, digits = 1) {
  if (value === null || value === undefined) return "–";
  return value >= 100 ? Math.round(value).toString() : value.toFixed(digits);
}

export function bytes(value) {
  if (value === null || value === undefined) return "–";
  if (value < 1e3) return `${value} B`;
  return value < 1e6 ? `${(value / 1e3).toFixed(0)} kB` : `${(value / 1e6).toFixed(1)} MB`;
}

export function duration(seconds) {
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor((seconds % 86400) / 3600)} h`;
}

export const sum = (counts) => Object.values(counts ?? {}).reduce((a, b) => a + b, 0);

export const words = (cause) => cause.replaceAll("_", " ");
