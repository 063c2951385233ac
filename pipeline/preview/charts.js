// Small charts of the last five minutes, drawn by hand: lines for latencies, stacked bars for drops.
const SPAN = 300; // seconds
const LEFT = 52;
const BOTTOM = 20;
const TOP = 8;

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export class Chart {
  /** `kind` is "lines" or "bars"; `unit` stands behind the numbers. */
  constructor(canvas, kind, unit) {
    Object.assign(this, { canvas, kind, unit });
    this.times = [];
    this.series = []; // {name, colour (a CSS variable), values}
    this.pointer = null;
    this.now = 0;
    canvas.addEventListener("pointermove", (event) => this.hover(event.offsetX));
    canvas.addEventListener("pointerleave", () => this.hover(null));
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  hover(x) {
    this.pointer = x;
    this.draw();
  }

  /** Show `series` over `times`, seconds since 1970, up to `now`. */
  set(times, series, now) {
    this.now = now;
    this.times = times;
    this.series = series;
    this.draw();
  }

  draw() {
    const { canvas } = this;
    const scale = devicePixelRatio || 1;
    const width = canvas.clientWidth;
    const height = canvas.clientHeight;
    if (!width || !height) return;
    canvas.width = width * scale;
    canvas.height = height * scale;
    const c = canvas.getContext("2d");
    c.scale(scale, scale);
    c.font = "11px system-ui, sans-serif";
    const now = Math.max(this.now, this.times.at(-1) ?? 0);
    const x = (t) => LEFT + ((t - now + SPAN) / SPAN) * (width - LEFT - 6);
    const top = this.most();
    const y = (v) => height - BOTTOM - (v / top) * (height - BOTTOM - TOP);
    this.axes(c, width, height, x, y, top, now);
    if (this.kind === "lines") this.lines(c, x, y, now);
    else this.bars(c, x, y, now, width);
    if (this.pointer !== null && this.times.length) this.tell(c, x, width, height);
  }

  /** The top of the scale: a round number above everything shown. */
  most() {
    let most = 0;
    for (let n = 0; n < this.times.length; n++) {
      const all = this.series.map((one) => one.values[n] ?? 0);
      most = Math.max(most, this.kind === "lines" ? Math.max(0, ...all) : all.reduce((a, b) => a + b, 0));
    }
    if (most <= 0) return this.kind === "lines" ? 50 : 1;
    const power = 10 ** Math.floor(Math.log10(most));
    return [1, 2, 2.5, 5, 10].map((f) => f * power).find((f) => f >= most * 1.02) ?? 10 * power;
  }

  axes(c, width, height, x, y, top, now) {
    c.fillStyle = css("--faint");
    c.strokeStyle = css("--line");
    c.lineWidth = 1;
    c.textAlign = "right";
    c.textBaseline = "middle";
    for (const share of [0, 0.5, 1]) {
      const at = Math.round(y(top * share)) + 0.5;
      c.beginPath();
      c.moveTo(LEFT, at);
      c.lineTo(width - 6, at);
      c.stroke();
      const value = top * share;
      const seconds = this.unit === "ms" && top >= 1000;
      const unit = share === 1 ? ` ${seconds ? "s" : this.unit}` : "";
      c.fillText(`${Number((seconds ? value / 1000 : value).toPrecision(3))}${unit}`, LEFT - 6, at);
    }
    c.textBaseline = "bottom";
    for (const ago of [240, 180, 120, 60]) {
      c.textAlign = "center";
      c.fillText(`−${ago / 60} min`, x(now - ago), height - 2);
    }
    c.textAlign = "right";
    c.fillText("now", width - 6, height - 2);
  }

  lines(c, x, y, now) {
    for (const one of this.series) {
      c.strokeStyle = css(one.colour);
      c.lineWidth = 1.75;
      c.lineJoin = "round";
      c.beginPath();
      let drawing = false;
      let before = 0;
      this.times.forEach((t, n) => {
        const value = one.values[n];
        const usable = value !== null && value !== undefined && t >= now - SPAN;
        if (usable && drawing && t - before < 5) c.lineTo(x(t), y(value));
        else if (usable) c.moveTo(x(t), y(value));
        drawing = usable;
        before = t;
      });
      c.stroke();
    }
  }

  bars(c, x, y, now, width) {
    const wide = Math.max(1, ((width - LEFT) / SPAN) * 0.8);
    this.times.forEach((t, n) => {
      if (t < now - SPAN) return;
      let base = 0;
      for (const one of this.series) {
        const value = one.values[n] ?? 0;
        if (value <= 0) continue;
        c.fillStyle = css(one.colour);
        c.fillRect(x(t) - wide, y(base + value), wide, y(base) - y(base + value));
        base += value;
      }
    });
  }

  tell(c, x, width, height) {
    let nearest = 0;
    this.times.forEach((t, n) => {
      if (Math.abs(x(t) - this.pointer) < Math.abs(x(this.times[nearest]) - this.pointer)) nearest = n;
    });
    const at = x(this.times[nearest]);
    if (at < LEFT) return;
    c.strokeStyle = css("--soft");
    c.beginPath();
    c.moveTo(at, TOP);
    c.lineTo(at, height - BOTTOM);
    c.stroke();
    const rows = [new Date(this.times[nearest] * 1000).toLocaleTimeString()];
    for (const one of this.series) {
      const value = one.values[nearest];
      rows.push(`${one.name} ${value === null || value === undefined ? "–" : Number(value.toPrecision(3))} ${this.unit}`);
    }
    const wide = Math.max(...rows.map((row) => c.measureText(row).width)) + 16;
    const left = at + wide + 10 > width ? at - wide - 8 : at + 8;
    c.fillStyle = css("--panel");
    c.strokeStyle = css("--line");
    c.beginPath();
    c.roundRect(left, TOP, wide, rows.length * 16 + 8, 6);
    c.fill();
    c.stroke();
    c.fillStyle = css("--ink");
    c.textAlign = "left";
    c.textBaseline = "middle";
    rows.forEach((row, n) => c.fillText(row, left + 8, TOP + 12 + n * 16));
  }
}

/** The key of a chart: a line in the colour of each series, and its name. */
export function legend(element, series) {
  element.replaceChildren(
    ...series.map((one) => {
      const key = document.createElement("span");
      key.className = "key";
      const line = document.createElement("i");
      line.style.color = `var(${one.colour})`;
      key.append(line, one.name);
      return key;
    }),
  );
}
