const $ = (id) => document.getElementById(id);
const scene = JSON.parse($("scene").textContent);
const BACKGROUNDS = { dark: [0.055, 0.063, 0.078], light: [0.955, 0.95, 0.94] };
const HOME_FOV = (50 * Math.PI) / 180;

const canvas = $("canvas");
const points = decodePoints(scene, $("points").textContent);
$("points").remove();
const orbit = new Orbit({ ...scene.start, fov: HOME_FOV }, scene.scale);
const shown = scene.views.map(() => true);
const state = { percent: scene.start_percent, size: 1, cameras: true, background: "dark", active: -1 };
// All points are within this distance of the target of the initial viewpoint.
let reach = scene.scale;
for (let i = 0; i < points.count; i++) {
  const p = points.position.subarray(4 * i, 4 * i + 3);
  reach = Math.max(reach, length(sub(p, scene.start.target)));
}

let renderer = null;
let pending = false;

// Fraction of the window, from below, that the thumbnails cover.
const covered = () => Math.min($("strip").offsetHeight / (canvas.clientHeight || 1), 0.4);

const aspect = () => canvas.clientWidth / (canvas.clientHeight || 1);

function redraw() {
  if (!pending) requestAnimationFrame(frame);
  pending = true;
}

function frame(now) {
  pending = false;
  const moving = orbit.step(now);
  const density = Math.min(window.devicePixelRatio || 1, 2);
  const width = Math.round(canvas.clientWidth * density) || 1;
  const height = Math.round(canvas.clientHeight * density) || 1;
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const near = Math.max(0.01 * orbit.distance, 0.002 * scene.scale);
  const far = 1.1 * (reach + length(sub(orbit.eye, scene.start.target))) + near;
  const count = scene.drawn[state.percent];
  renderer.draw({
    clip: orbit.matrix(width / height, near, far, covered()),
    halfHeight: orbit.halfHeight(width / height),
    near, count, density,
    size: 1.7 * state.size,
    background: BACKGROUNDS[state.background],
    cameras: state.cameras,
    active: state.active,
  });
  if (moving) redraw();
}

// ---- actions of the controls ----------------------------------------------------------------

const number = (n) => n.toLocaleString("en");

function visibleCount() {
  const count = scene.drawn[state.percent];
  if (shown.every(Boolean)) return count;
  let sum = 0;
  for (let i = 0; i < count; i++) sum += shown[points.view[i]];
  return sum;
}

function report() {
  const drawn = visibleCount(), views = scene.views.length;
  const parts = [`${number(drawn)} of ${number(points.count)} points`];
  parts.push(`${number(views)} view${views === 1 ? "" : "s"}`);
  if (scene.model) parts.push(scene.model);
  $("stats").textContent = parts.join(" · ");
  document.body.dataset.drawn = drawn;
  window.zipmapViewer.drawn = drawn;
}

function setConfidence(percent) {
  state.percent = clamp(Math.round(percent), 0, 99);
  $("confidence").value = state.percent;
  const least = scene.confidence[state.percent];
  $("confidence-value").textContent = state.percent
    ? `top ${100 - state.percent}% (≥ ${Number(least.toPrecision(3))})` : "all points";
  report();
  redraw();
}

function setSize(size) {
  state.size = clamp(size, 0.25, 4);
  $("size").value = Math.log2(state.size);
  $("size-value").textContent = `${state.size.toFixed(2)}×`;
  redraw();
}

function setCameras(on) {
  state.cameras = on;
  $("cameras").checked = on;
  redraw();
}

function setBackground(name) {
  state.background = name in BACKGROUNDS ? name : "dark";
  document.body.dataset.background = state.background;
  $("background").checked = state.background === "light";
  redraw();
}

function setShown(view, on) {
  shown[view] = on;
  renderer.setShown(shown);
  const card = $("strip").querySelector(`[data-view="${view}"]`);
  if (card) {
    card.classList.toggle("hidden", !on);
    card.querySelector(".eye").setAttribute("aria-pressed", String(on));
  }
  $("show-all").hidden = shown.every(Boolean);
  report();
  redraw();
}

function setActive(view) {
  state.active = view;
  for (const card of $("strip").children) {
    card.classList.toggle("active", Number(card.dataset.view) === view);
  }
}

const calm = () => window.matchMedia("(prefers-reduced-motion: reduce)").matches;

function flyTo(view, milliseconds = calm() ? 0 : 900) {
  const { c2w: m, k, width, height, depth } = scene.views[view];
  const eye = [m[3], m[7], m[11]], forward = [m[2], m[6], m[10]], up = [-m[1], -m[5], -m[9]];
  // The field of view is such that the whole image fits above the thumbnails.
  const fit = Math.max(height / k[1] / (1 - covered()), width / k[0] / aspect());
  const target = add(eye, times(forward, depth || scene.scale));
  orbit.flyTo({ eye, target, up, fov: 2 * Math.atan((fit / 2) * Math.min(aspect(), 1)) }, milliseconds);
  setActive(view);
  const card = $("strip").querySelector(`[data-view="${view}"]`);
  if (card) card.scrollIntoView({ block: "nearest", inline: "center", behavior: "auto" });
  redraw();
}

function reset(milliseconds = calm() ? 0 : 700) {
  orbit.flyTo(orbit.start, milliseconds);
  setActive(-1);
  redraw();
}

// The drawn point nearest to a screen position becomes the centre of rotation.
function focus(x, y) {
  const m = orbit.matrix(aspect(), 0.01, 100, covered());
  let best = null, least = Infinity;
  for (let i = 0; i < scene.drawn[state.percent]; i++) {
    if (!shown[points.view[i]]) continue;
    const [px, py, pz] = points.position.subarray(4 * i, 4 * i + 3);
    const w = m[3] * px + m[7] * py + m[11] * pz + m[15];
    if (w <= 0) continue;
    const dx = ((m[0] * px + m[4] * py + m[8] * pz + m[12]) / w - x) * aspect();
    const dy = (m[1] * px + m[5] * py + m[9] * pz + m[13]) / w - y;
    const distance = Math.hypot(dx, dy);
    // Within a small circle the foremost point is selected.
    const cost = distance < 0.03 ? w * (1 + 10 * distance) : Infinity;
    if (cost < least) [least, best] = [cost, [px, py, pz]];
  }
  if (!best) return;
  const offset = sub(orbit.eye, orbit.target);
  orbit.flyTo({ target: best, eye: add(best, times(offset, 0.6)) }, calm() ? 0 : 500);
  redraw();
}

// ---- mouse, touch, keyboard ----------------------------------------------------------------

const pointers = new Map();
canvas.addEventListener("pointerdown", (event) => {
  try {
    canvas.setPointerCapture(event.pointerId);
  } catch { /* a pointer that is already released cannot be captured */ }
  pointers.set(event.pointerId, [event.clientX, event.clientY]);
  canvas.focus({ preventScroll: true });
});
for (const name of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(name, (event) => pointers.delete(event.pointerId));
}
canvas.addEventListener("pointermove", (event) => {
  const last = pointers.get(event.pointerId);
  if (!last) return;
  const here = [event.clientX, event.clientY];
  const dx = here[0] - last[0], dy = here[1] - last[1], h = canvas.clientHeight;
  if (pointers.size === 1) {
    if (event.buttons & 6 || event.shiftKey) orbit.pan(dx / h, dy / h, aspect());
    else orbit.turn((dx / h) * 4, (dy / h) * 4);
  } else if (pointers.size === 2) {
    const other = [...pointers].find(([id]) => id !== event.pointerId)[1];
    const spread = (p) => Math.hypot(p[0] - other[0], p[1] - other[1]) || 1;
    orbit.zoom(spread(last) / spread(here));
    // Each finger moves the midpoint by half of its own movement.
    orbit.pan(dx / 2 / h, dy / 2 / h, aspect());
  }
  pointers.set(event.pointerId, here);
  setActive(-1);
  redraw();
});
canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  const pixels = event.deltaY * (event.deltaMode === 1 ? 30 : 1);
  orbit.zoom(Math.exp(clamp(pixels, -200, 200) * 0.0015));
  setActive(-1);
  redraw();
}, { passive: false });
canvas.addEventListener("contextmenu", (event) => event.preventDefault());
canvas.addEventListener("dblclick", (event) => {
  focus((2 * event.clientX) / canvas.clientWidth - 1, 1 - (2 * event.clientY) / canvas.clientHeight);
});

function neighbour(step) {
  const n = scene.views.length;
  flyTo(state.active < 0 ? (step > 0 ? 0 : n - 1) : (state.active + step + n) % n);
}

const KEYS = {
  r: () => reset(),
  c: () => setCameras(!state.cameras),
  b: () => setBackground(state.background === "dark" ? "light" : "dark"),
  h: () => document.body.classList.toggle("bare"),
  "+": () => setSize(state.size * 1.25),
  "=": () => setSize(state.size * 1.25),
  "-": () => setSize(state.size / 1.25),
  ArrowRight: () => neighbour(1),
  ArrowLeft: () => neighbour(-1),
};
window.addEventListener("keydown", (event) => {
  const typing = event.target instanceof HTMLInputElement && event.target.type === "range";
  const action = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
  if (typing && event.key.startsWith("Arrow")) return;
  event.preventDefault();
  action();
});

// ---- panel and thumbnails ------------------------------------------------------------------

const clock = (seconds) => {
  const minutes = Math.floor(seconds / 60);
  return `${minutes}:${(seconds - 60 * minutes).toFixed(1).padStart(4, "0")}`;
};

function buildStrip() {
  scene.views.forEach((view, i) => {
    if (!view.thumbnail) return;
    const card = $("card").content.firstElementChild.cloneNode(true);
    card.dataset.view = i;
    card.style.setProperty("--color", view.color);
    const label = view.time === null ? view.name : `${view.name} · ${clock(view.time)}`;
    const picture = card.querySelector(".picture");
    picture.title = label;
    picture.setAttribute("aria-label", `Go to camera ${label}`);
    picture.querySelector("img").src = view.thumbnail;
    card.querySelector(".name").textContent = view.time === null ? view.name : clock(view.time);
    picture.addEventListener("click", () => flyTo(i));
    card.querySelector(".eye").addEventListener("click", (event) => {
      if (!event.altKey) return setShown(i, !shown[i]);
      shown.forEach((_, j) => setShown(j, j === i));
    });
    $("strip").append(card);
  });
}

function bindControls() {
  $("confidence").addEventListener("input", (e) => setConfidence(Number(e.target.value)));
  $("size").addEventListener("input", (e) => setSize(2 ** Number(e.target.value)));
  $("cameras").addEventListener("change", (e) => setCameras(e.target.checked));
  $("background").addEventListener("change", (e) => setBackground(e.target.checked ? "light" : "dark"));
  $("reset").addEventListener("click", () => reset());
  $("show-all").addEventListener("click", () => shown.forEach((_, i) => setShown(i, true)));
  $("menu").addEventListener("click", () => {
    const open = document.body.classList.toggle("open");
    $("menu").setAttribute("aria-expanded", String(open));
  });
  canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
  canvas.addEventListener("webglcontextrestored", () => location.reload());
  new ResizeObserver(() => {
    if (state.active >= 0 && !orbit.flight) flyTo(state.active, 0);
    // Immediately, because the old picture would be stretched for one frame.
    frame(performance.now());
  }).observe(canvas);
}

// scene.html#view=3&confidence=60&size=2&background=light&cameras=0 sets the initial state.
function applyHash() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  if (wanted.has("confidence")) setConfidence(Number(wanted.get("confidence")) || 0);
  if (wanted.has("size")) setSize(Number(wanted.get("size")) || 1);
  if (wanted.has("background")) setBackground(wanted.get("background"));
  if (wanted.has("cameras")) setCameras(wanted.get("cameras") !== "0");
  const view = Number(wanted.get("view"));
  if (wanted.has("view") && scene.views[view]) flyTo(view, 0);
}

window.zipmapViewer = {
  ready: false, error: null, points: points.count, drawn: 0, views: scene.views.length,
  state, orbit, setConfidence, setSize, setCameras, setBackground, setShown, flyTo, reset,
};
try {
  // Half the diagonal of a frustum is about a twentieth of the scene.
  renderer = new Renderer(canvas, points, frustumSegments(scene, 0.05 * scene.scale), shown.length);
  renderer.setShown(shown);
  $("notes").textContent = scene.notes;
  $("notes").hidden = !scene.notes;
  buildStrip();
  bindControls();
  setConfidence(state.percent);
  setSize(1);
  setCameras(true);
  setBackground("dark");
  applyHash();
  window.addEventListener("hashchange", applyHash);
  window.zipmapViewer.ready = true;
  document.body.dataset.ready = "true";
} catch (error) {
  window.zipmapViewer.error = error.message;
  $("stats").textContent = error.message;
  document.body.dataset.error = error.message;
}
