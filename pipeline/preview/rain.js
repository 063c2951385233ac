// The rain meter's streaks: the more is taken out of the picture, the more of them fall behind the number.
const still = matchMedia("(prefers-reduced-motion: reduce)");

export class Rain {
  constructor(canvas) {
    this.canvas = canvas;
    this.level = 0; // 0..1
    this.drops = Array.from({ length: 90 }, () => ({ x: Math.random(), y: Math.random(), depth: Math.random() }));
    this.before = 0;
    requestAnimationFrame((now) => this.fall(now));
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  set(level) {
    this.level = Math.min(1, Math.max(0, level));
    if (still.matches) this.draw();
  }

  fall(now) {
    const passed = Math.min(0.1, (now - this.before) / 1000);
    if (!still.matches && passed >= 1 / 31) { // 30 pictures a second are plenty
      this.before = now;
      for (const drop of this.drops) {
        drop.y += passed * (0.5 + 0.9 * drop.depth);
        if (drop.y > 1.1) Object.assign(drop, { y: -0.15, x: Math.random() });
      }
      if (this.canvas.offsetParent) this.draw();
    }
    requestAnimationFrame((next) => this.fall(next));
  }

  draw() {
    const scale = devicePixelRatio || 1;
    const width = this.canvas.clientWidth;
    const height = this.canvas.clientHeight;
    if (!width || !height) return;
    if (this.canvas.width !== Math.round(width * scale)) this.canvas.width = Math.round(width * scale);
    if (this.canvas.height !== Math.round(height * scale)) this.canvas.height = Math.round(height * scale);
    const c = this.canvas.getContext("2d");
    c.setTransform(scale, 0, 0, scale, 0, 0);
    c.clearRect(0, 0, width, height);
    c.strokeStyle = getComputedStyle(document.documentElement).getPropertyValue("--accent");
    c.lineCap = "round";
    const many = Math.round(this.level * this.drops.length);
    for (const drop of this.drops.slice(0, many)) {
      const long = 8 + 16 * drop.depth;
      const x = drop.x * (width + 20);
      const y = drop.y * height;
      c.globalAlpha = 0.1 + 0.22 * drop.depth;
      c.lineWidth = 0.8 + drop.depth;
      c.beginPath();
      c.moveTo(x, y);
      c.lineTo(x - long * 0.22, y + long);
      c.stroke();
    }
    c.globalAlpha = 1;
  }
}
