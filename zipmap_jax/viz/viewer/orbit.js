// Vectors are arrays of three numbers; matrices are column-major, as in WebGL.
const add = (a, b) => [a[0] + b[0], a[1] + b[1], a[2] + b[2]];
const sub = (a, b) => [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
const times = (a, s) => [a[0] * s, a[1] * s, a[2] * s];
const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const cross = (a, b) => [
  a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0],
];
const length = (a) => Math.hypot(...a);
const unit = (a) => times(a, 1 / (length(a) || 1));
const mix = (a, b, t) => add(times(a, 1 - t), times(b, t));
const clamp = (x, low, high) => Math.min(Math.max(x, low), high);

// Rodrigues' formula; `axis` has length 1.
function rotate(v, axis, angle) {
  const c = Math.cos(angle), s = Math.sin(angle);
  return add(add(times(v, c), times(cross(axis, v), s)), times(axis, dot(axis, v) * (1 - c)));
}

function multiply(a, b) {
  const out = new Float32Array(16);
  for (let column = 0; column < 4; column++) {
    for (let row = 0; row < 4; row++) {
      let sum = 0;
      for (let k = 0; k < 4; k++) sum += a[4 * k + row] * b[4 * column + k];
      out[4 * column + row] = sum;
    }
  }
  return out;
}

// A viewpoint: eye, target and upward direction in the world, field of view in radians
// of the shorter side of the screen.
class Orbit {
  constructor(start, scale) {
    this.worldUp = unit(start.up);
    this.start = { ...start, up: this.worldUp };
    this.scale = scale;
    this.flight = null;
    Object.assign(this, this.start);
  }

  get distance() {
    return length(sub(this.eye, this.target));
  }

  // Right, up and backward axes of the screen.
  axes() {
    const back = unit(sub(this.eye, this.target));
    let right = cross(this.up, back);
    if (length(right) < 1e-6) right = cross(Math.abs(back[0]) < 0.9 ? [1, 0, 0] : [0, 1, 0], back);
    right = unit(right);
    return [right, cross(back, right), back];
  }

  // Half the height of the screen at distance 1.
  halfHeight(aspect) {
    return Math.tan(this.fov / 2) / Math.min(aspect, 1);
  }

  turn(yaw, pitch) {
    this.flight = null;
    // After a flight to a tilted camera the horizon is levelled gradually.
    this.up = unit(mix(this.up, this.worldUp, 0.12));
    let offset = rotate(sub(this.eye, this.target), this.up, -yaw);
    const side = cross(this.up, offset);
    if (length(side) > 1e-9) {
      const angle = Math.acos(clamp(dot(unit(offset), this.up), -1, 1));
      offset = rotate(offset, unit(side), clamp(angle - pitch, 0.03, Math.PI - 0.03) - angle);
    }
    this.eye = add(this.target, offset);
  }

  // Moves by a fraction of the screen's height at the distance of the target.
  pan(dx, dy, aspect) {
    this.flight = null;
    const [right, up] = this.axes();
    const size = 2 * this.distance * this.halfHeight(aspect);
    const step = add(times(right, -dx * size), times(up, dy * size));
    this.eye = add(this.eye, step);
    this.target = add(this.target, step);
  }

  zoom(factor) {
    this.flight = null;
    const offset = sub(this.eye, this.target);
    // Close to the target the eye moves on and shifts the target forward.
    const least = 0.05 * this.scale;
    const wanted = Math.min(length(offset) * factor, 100 * this.scale);
    const walk = Math.max(least - wanted, 0);
    this.target = sub(this.target, times(unit(offset), walk));
    this.eye = add(this.target, times(unit(offset), Math.max(wanted, least)));
  }

  flyTo(pose, milliseconds) {
    const from = { eye: this.eye, target: this.target, up: this.up, fov: this.fov };
    this.flight = { from, to: { ...from, ...pose }, begin: performance.now(), milliseconds };
    if (milliseconds <= 0) this.step(Infinity);
  }

  // Continues a flight; returns true until its end.
  step(now) {
    if (!this.flight) return false;
    const { from, to, begin, milliseconds } = this.flight;
    const t = now === Infinity ? 1 : clamp((now - begin) / milliseconds, 0, 1);
    const s = t * t * (3 - 2 * t);
    for (const key of ["eye", "target", "up"]) this[key] = mix(from[key], to[key], s);
    this.up = unit(this.up);
    this.fov = from.fov + (to.fov - from.fov) * s;
    if (t >= 1) this.flight = null;
    return this.flight !== null;
  }

  // World to clip coordinates; the target appears `lift` half screen heights above the middle.
  matrix(aspect, near, far, lift) {
    const axes = this.axes();
    const view = new Float32Array(16);
    axes.forEach((axis, row) => {
      axis.forEach((x, column) => { view[4 * column + row] = x; });
      view[12 + row] = -dot(axis, this.eye);
    });
    view[15] = 1;
    const f = 1 / this.halfHeight(aspect);
    const projection = new Float32Array(16);
    projection[0] = f / aspect;
    projection[5] = f;
    projection[9] = -lift;
    projection[10] = (far + near) / (near - far);
    projection[11] = -1;
    projection[14] = (2 * far * near) / (near - far);
    return multiply(projection, view);
  }
}
