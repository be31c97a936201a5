// A camera that circles about a point: mouse, fingers and keys. Matrices are column-major, as WebGL takes them.
export const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
const add = (a, b, s = 1) => [a[0] + s * b[0], a[1] + s * b[1], a[2] + s * b[2]];
const unit = (a) => { const n = Math.hypot(...a) || 1; return [a[0] / n, a[1] / n, a[2] / n]; };
const FIELD = 45 * Math.PI / 180;

export class Orbit {
  constructor(canvas, changed) {
    Object.assign(this, { azimuth: 0.5, elevation: 0.6, distance: 3, center: [0, 0, 0], up: [0, -1, 0], forward: [0, 0, 1],
      size: 1, touched: false, changed });
    const held = new Map();
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      held.set(event.pointerId, [event.clientX, event.clientY]);
    });
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, (event) => held.delete(event.pointerId));
    canvas.addEventListener("pointermove", (event) => {
      const last = held.get(event.pointerId);
      if (!last) return;
      const now = [event.clientX, event.clientY], [dx, dy] = [now[0] - last[0], now[1] - last[1]];
      if (held.size === 2) {
        const other = [...held].find(([id]) => id !== event.pointerId)[1];
        const apart = (p) => Math.hypot(p[0] - other[0], p[1] - other[1]) || 1;
        this.zoom(apart(last) / apart(now));
        this.move(dx / 2, dy / 2, canvas.clientHeight);
      } else if (event.buttons & 6 || event.shiftKey) this.move(dx, dy, canvas.clientHeight);
      else this.turn(-dx * 0.006, dy * 0.006);
      held.set(event.pointerId, now);
    });
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(0.0012 * event.deltaY));
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => {
      const keys = { ArrowLeft: [0.1, 0], ArrowRight: [-0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] };
      if (keys[event.key]) this.turn(...keys[event.key]);
      else if (event.key === "+" || event.key === "=") this.zoom(0.9);
      else if (event.key === "-") this.zoom(1.1);
      else return;
      event.preventDefault();
    });
  }

  frame(center, size, up, forward, keep) {
    this.up = unit(up);
    const level = add(forward, this.up, -dot(forward, this.up));
    this.forward = Math.hypot(...level) > 1e-3 ? unit(level) : unit(cross(this.up, Math.abs(this.up[0]) < .9 ? [1, 0, 0] : [0, 1, 0]));
    this.size = size;
    if (!keep) Object.assign(this, { center, azimuth: 0.35, elevation: 0.82, distance: 0.95 * size });
  }

  turn(right, upwards) {
    this.azimuth += right;
    this.elevation = Math.max(-1.5, Math.min(1.5, this.elevation + upwards));
    this.touch();
  }

  zoom(factor) {
    this.distance = Math.max(0.01 * this.size, Math.min(20 * this.size, this.distance * factor));
    this.touch();
  }

  move(dx, dy, height) {
    const [right, up] = this.axes(), scale = 2 * Math.tan(FIELD / 2) * this.distance / height;
    this.center = add(add(this.center, right, -dx * scale), up, dy * scale);
    this.touch();
  }

  touch() { this.touched = true; this.changed(); }

  axes() {  // right, up, backwards of the viewer
    const side = cross(this.forward, this.up), c = Math.cos(this.azimuth), s = Math.sin(this.azimuth);
    const level = add([c * this.forward[0], c * this.forward[1], c * this.forward[2]], side, s);
    const look = add(level.map((v) => v * Math.cos(this.elevation)), this.up, -Math.sin(this.elevation));
    const right = unit(cross(look, this.up));
    return [right, cross(right, look), look.map((v) => -v)];
  }

  matrices(width, height) {
    const [x, y, z] = this.axes(), narrow = Math.max(1, 0.9 * height / width);  // a phone held upright
    const eye = add(this.center, z, this.distance * narrow);
    const view = new Float32Array([x[0], y[0], z[0], 0, x[1], y[1], z[1], 0, x[2], y[2], z[2], 0,
      -dot(x, eye), -dot(y, eye), -dot(z, eye), 1]);
    const f = 1 / Math.tan(FIELD / 2), near = 0.002 * this.size, far = 40 * this.size;
    const projection = new Float32Array([f * height / width, 0, 0, 0, 0, f, 0, 0, 0, 0, (far + near) / (near - far), -1,
      0, 0, 2 * far * near / (near - far), 0]);
    return { view, projection, eye, focal: f * height / 2 };
  }
}
