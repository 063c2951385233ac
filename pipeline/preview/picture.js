// The large picture: pairs of before and after, over WebRTC (one video, before on top of after) or, where that fails,
// over MJPEG (two JPEGs in a part). Both are of the same frame, so nothing jumps at the slider.
import { ask, token } from "./service.js";

const SMALL = [64, 36]; // the size at which before and after are compared; small, so that what a codec adds averages out
const CONNECT = 8000; // milliseconds that WebRTC has to connect
const PATIENCE = 15000; // and for a picture then: a stream may be slow without being gone

export class Picture {
  constructor(stage, canvas, slider, divider, badge) {
    Object.assign(this, { stage, canvas, slider, divider, badge });
    this.context = canvas.getContext("2d", { alpha: false });
    this.position = Number(localStorage.getItem("derain-slider") ?? 0.5);
    this.last = null; // the newest pair: {before, after, below}: what to draw, and where in it the after begins
    this.shown = 0; // pairs drawn, for whoever wants to see that pictures change
    this.turn = 0; // which show() is current
    this.removed = null; // what is taken out of the picture now: mean change of brightness, in grey levels of 255
    this.compared = 0;
    this.small = document.createElement("canvas").getContext("2d", { alpha: false, willReadFrequently: true });
    [this.small.canvas.width, this.small.canvas.height] = SMALL;
    slider.value = Math.round(this.position * 1000);
    slider.addEventListener("input", () => {
      this.position = slider.value / 1000;
      localStorage.setItem("derain-slider", this.position);
      this.place();
      this.draw();
    });
    this.place();
  }

  place() {
    this.stage.style.setProperty("--at", this.position);
    this.slider.setAttribute("aria-valuetext", `${Math.round(this.position * 100)} % before`);
  }

  /** Show a stream from now on. */
  async show(id, transport) {
    this.stop();
    const turn = ++this.turn;
    const current = () => turn === this.turn;
    const wanted = new URLSearchParams(location.search).get("transport") ?? transport;
    if (wanted !== "mjpeg" && window.RTCPeerConnection) {
      try {
        await this.overWebRtc(id, current);
        return;
      } catch (error) {
        console.info(`WebRTC did not work (${error.message}); MJPEG instead`);
      }
    }
    while (current()) {
      try {
        await this.overMjpeg(id, current);
      } catch {
        // the stream or the service is away; the notice over the picture says so
      }
      this.say("");
      await new Promise((done) => setTimeout(done, 1000));
    }
  }

  stop() {
    this.turn++;
    this.abort?.abort();
    this.connection?.close();
    this.abort = this.connection = null;
    this.release();
    this.removed = null;
    this.say("");
    this.context.fillRect(0, 0, this.canvas.width, this.canvas.height);
  }

  release() {
    for (const one of [this.last?.before, this.last?.after]) if (one instanceof ImageBitmap) one.close();
    this.last = null;
  }

  /** How bright each place of a picture is, seen from afar. */
  seen(picture, top) {
    this.small.drawImage(picture, 0, top, ...this.size, 0, 0, ...SMALL);
    const { data } = this.small.getImageData(0, 0, ...SMALL);
    const luma = new Float32Array(data.length / 4);
    for (let n = 0; n < luma.length; n++) luma[n] = 0.2126 * data[4 * n] + 0.7152 * data[4 * n + 1] + 0.0722 * data[4 * n + 2];
    return luma;
  }

  compare() {
    if (performance.now() - this.compared < 400) return;
    this.compared = performance.now();
    const before = this.seen(this.last.before, 0);
    const after = this.seen(this.last.after, this.last.below);
    const now = before.reduce((sum, one, n) => sum + Math.abs(one - after[n]), 0) / before.length;
    this.removed = this.removed === null ? now : 0.7 * this.removed + 0.3 * now;
  }

  say(transport) {
    this.badge.textContent = transport;
  }

  async overWebRtc(id, current) {
    const connection = new RTCPeerConnection({ iceServers: [] });
    this.connection = connection;
    const video = document.createElement("video");
    video.muted = video.playsInline = true;
    let seen = performance.now();
    let decoded = 0;
    let failed = "";
    connection.ontrack = (event) => {
      video.srcObject = event.streams[0] ?? new MediaStream([event.track]);
      video.play().catch(() => {});
    };
    connection.onconnectionstatechange = () => {
      if (["failed", "closed", "disconnected"].includes(connection.connectionState)) failed = connection.connectionState;
    };
    const take = () => {
      if (!current() || this.connection !== connection) return;
      const { totalVideoFrames } = video.getVideoPlaybackQuality();
      if (totalVideoFrames !== decoded && video.videoHeight) {
        decoded = totalVideoFrames;
        seen = performance.now();
        this.say("WebRTC");
        const half = Math.floor(video.videoHeight / 2);
        this.use({ before: video, after: video, below: half }, video.videoWidth, half);
      }
      requestAnimationFrame(take);
    };
    try {
      connection.addTransceiver("video", { direction: "recvonly" });
      await connection.setLocalDescription(await connection.createOffer());
      await gathered(connection);
      const { sdp, type } = connection.localDescription;
      await connection.setRemoteDescription(await ask("POST", `api/streams/${id}/webrtc`, { sdp, type }));
      requestAnimationFrame(take); // a video outside the page gets no requestVideoFrameCallback
      while (current() && !failed) {
        const patience = connection.connectionState === "connected" ? PATIENCE : CONNECT;
        if (performance.now() - seen > patience && document.visibilityState === "visible") throw new Error("no picture");
        await new Promise((done) => setTimeout(done, 250));
      }
      if (failed && current()) throw new Error(failed);
    } finally {
      connection.close();
      if (this.connection === connection) this.connection = null;
      if (this.last?.before === video) this.last = null;
    }
  }

  async overMjpeg(id, current) {
    this.abort = new AbortController();
    const headers = token() ? { Authorization: `Bearer ${token()}` } : {};
    const answer = await fetch(`api/streams/${id}/pair.mjpeg`, { signal: this.abort.signal, headers });
    if (!answer.ok) throw new Error(answer.statusText);
    for await (const pair of parts(answer.body.getReader())) {
      const [before, after] = await Promise.all(
        pair.map((jpeg) => createImageBitmap(new Blob([jpeg], { type: "image/jpeg" }))),
      );
      if (!current()) {
        before.close();
        after.close();
        return;
      }
      this.say("MJPEG");
      this.release();
      this.use({ before, after, below: 0 }, after.width, after.height);
    }
  }

  use(pair, width, height) {
    if (!width || !height) return;
    this.last = pair;
    this.size = [width, height];
    if (this.canvas.width !== width || this.canvas.height !== height) {
      [this.canvas.width, this.canvas.height] = this.size;
      this.stage.style.setProperty("--shape", `${width} / ${height}`);
    }
    this.shown++;
    this.canvas.dataset.shown = this.shown;
    this.compare();
    this.draw();
  }

  draw() {
    if (!this.last) return;
    const [width, height] = this.size;
    const at = Math.round(this.position * width);
    const { before, after, below } = this.last;
    this.context.drawImage(after, 0, below, width, height, 0, 0, width, height);
    if (at > 0) this.context.drawImage(before, 0, 0, at, height, 0, 0, at, height);
  }
}

/** Wait until the browser knows its own addresses, but not for ever: those of the service are enough. */
function gathered(connection) {
  return new Promise((done) => {
    const finish = () => connection.iceGatheringState === "complete" && done();
    connection.addEventListener("icegatheringstatechange", finish);
    setTimeout(done, 1000);
    finish();
  });
}

/** The pairs [before, after] of a multipart/x-mixed-replace answer: each part is the after and, from X-Before, the before. */
async function* parts(reader) {
  let held = new Uint8Array(0);
  const more = async () => {
    const { done, value } = await reader.read();
    if (done) return false;
    const joined = new Uint8Array(held.length + value.length);
    joined.set(held);
    joined.set(value, held.length);
    held = joined;
    return true;
  };
  const decoder = new TextDecoder();
  for (;;) {
    let end;
    while ((end = headerEnd(held)) < 0) if (!(await more())) return;
    const head = decoder.decode(held.subarray(0, end));
    const length = Number(/content-length: *(\d+)/i.exec(head)?.[1]);
    const split = Number(/x-before: *(\d+)/i.exec(head)?.[1]);
    if (!(split > 0 && length > split)) throw new Error("not the picture stream that was expected");
    while (held.length < end + length) if (!(await more())) return;
    yield [held.slice(end + split, end + length), held.slice(end, end + split)];
    held = held.slice(end + length);
  }
}

function headerEnd(bytes) {
  for (let at = 3; at < Math.min(bytes.length, 4096); at++) {
    if (bytes[at] === 10 && bytes[at - 1] === 13 && bytes[at - 2] === 10 && bytes[at - 3] === 13) return at + 1;
  }
  return -1;
}
