// Draws a scene and follows its growth. Settings come from the page around it; changing them asks the server nothing.
import { PLAIN, POINTS, SPLATS } from "./shaders.js";
import { Orbit, dot } from "./orbit.js";

const settings = { show: "Points", level: 50, state: "After", count: 300000, mode: 0, size: 1, cameras: true, inside: true,
  up: "cameras", dark: matchMedia("(prefers-color-scheme: dark)").matches };
const token = new URLSearchParams(location.search).get("scene");
const canvas = document.getElementById("canvas"), status = document.getElementById("count");
const gl = canvas.getContext("webgl2", { antialias: true, preserveDrawingBuffer: true });
const LIGHT = [238, 240, 243], DARK = [22, 24, 28];
const TYPES = { f4: Float32Array, u1: Uint8Array, i1: Int8Array, u4: Uint32Array };

function program([vertex, fragment]) {
  const made = gl.createProgram();
  for (const [type, text] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(type);
    gl.shaderSource(shader, text);
    gl.compileShader(shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
    gl.attachShader(made, shader);
  }
  gl.linkProgram(made);
  return made;
}

if (!gl) {
  status.textContent = "This browser has no WebGL 2, so there is no 3-D view; the downloads work all the same.";
  throw new Error("no WebGL 2");
}
const programs = { points: program(POINTS), splats: program(SPLATS), plain: program(PLAIN) };
const orbit = new Orbit(canvas, redraw);
let scene = null, waiting = false, sortedFor = null;

function parse(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const made = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  let offset = 4 + length;
  made.data = {};
  for (const [name, type, shape] of made.arrays) {
    const count = shape.reduce((a, b) => a * b, 1);
    made.data[name] = new TYPES[type](buffer, offset, count);
    offset += made.data[name].byteLength;
  }
  return made;
}

function upload(made) {
  made.buffers = {};
  for (const [name, array] of Object.entries(made.data)) {
    const target = name === "triangles" ? gl.ELEMENT_ARRAY_BUFFER : gl.ARRAY_BUFFER;
    made.buffers[name] = gl.createBuffer();
    gl.bindBuffer(target, made.buffers[name]);
    gl.bufferData(target, array, gl.STATIC_DRAW);
  }
}

function release(old) {
  for (const buffer of Object.values(old?.buffers ?? {})) gl.deleteBuffer(buffer);
}

function isBefore() {  // before refinement
  return settings.state === "Before" && Boolean(scene.data.before_points);
}

function part(array) {  // of what is shown now
  return isBefore() ? `before_${array}` : array;
}

function threshold() {
  const steps = scene.thresholds;
  return isBefore() ? -1 : steps[Math.max(0, Math.min(Math.round(settings.level), steps.length - 1))];
}

function kind() {
  if (isBefore()) return "Points";
  if (settings.show === "Mesh" && scene.data.triangles) return "Mesh";
  return settings.show === "Gaussians" && scene.data.scales ? "Gaussians" : "Points";
}

function upAxis() {
  const axes = { "+x": [1, 0, 0], "-x": [-1, 0, 0], "+y": [0, 1, 0], "-y": [0, -1, 0], "+z": [0, 0, 1], "-z": [0, 0, -1] };
  return axes[settings.up] ?? scene.up;
}

function heights(up) {
  const points = scene.data.points, found = [];
  for (let i = 0; i < Math.min(points.length, 30000); i += 3)
    found.push(points[i] * up[0] + points[i + 1] * up[1] + points[i + 2] * up[2]);
  found.sort((a, b) => a - b);
  return found.length ? [found[Math.floor(.03 * found.length)], found[Math.floor(.97 * found.length)] + 1e-6] : [0, 1];
}

function refresh(keepView) {  // after another scene or up axis
  const up = upAxis();
  scene.heights = heights(up);
  scene.upShown = up;
  orbit.frame(scene.center, scene.size, up, scene.forward, keepView);
  sortedFor = null;
}

function attribute(used, name, buffer, size, type = gl.FLOAT, normalized = false, divisor = 0) {
  const place = gl.getAttribLocation(used, name);
  if (place < 0) return;
  gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
  gl.enableVertexAttribArray(place);
  gl.vertexAttribPointer(place, size, type, normalized, 0, 0);
  gl.vertexAttribDivisor(place, divisor);
}

function use(used, matrices) {
  gl.useProgram(used);
  for (let i = 0; i < 8; i++) { gl.disableVertexAttribArray(i); gl.vertexAttribDivisor(i, 0); }
  const at = (name) => gl.getUniformLocation(used, name);
  gl.uniformMatrix4fv(at("view"), false, matrices.view);
  gl.uniformMatrix4fv(at("projection"), false, matrices.projection);
  gl.uniform1f(at("threshold"), threshold());
  gl.uniform1i(at("inside"), settings.inside && scene.data[part("normals")] ? 1 : 0);
  gl.uniform3fv(at("eye"), matrices.eye);
  gl.uniform1f(at("radius"), settings.size * scene.size * 0.003);
  gl.uniform1f(at("focal"), matrices.focal);
  gl.uniform2f(at("resolution"), canvas.width, canvas.height);
  gl.uniform1i(at("mode"), settings.mode);
  gl.uniform2fv(at("confidences"), scene.confidence);
  gl.uniform2fv(at("heights"), scene.heights);
  gl.uniform3fv(at("up"), scene.upShown);
}

function drawPoints(matrices) {
  const { buffers, data } = scene, used = programs.points;
  use(used, matrices);
  attribute(used, "place", buffers[part("points")], 3);
  attribute(used, "color", buffers[part("colors")], 4, gl.UNSIGNED_BYTE, true);
  attribute(used, "confidence", buffers[part("confidence")], 1);
  if (data[part("normals")]) attribute(used, "normal", buffers[part("normals")], 4, gl.BYTE, true);
  gl.drawArrays(gl.POINTS, 0, Math.min(settings.count, data[part("points")].length / 3));
}

function sortSplats(view) {  // far to near; again only where the direction of view has changed
  const axis = [view[2], view[6], view[10]], data = scene.data, count = data.points.length / 3;
  if (sortedFor && dot(sortedFor, axis) > 0.999) return;
  const depth = new Float32Array(count);
  for (let i = 0; i < count; i++)
    depth[i] = data.points[3 * i] * axis[0] + data.points[3 * i + 1] * axis[1] + data.points[3 * i + 2] * axis[2];
  const order = Uint32Array.from({ length: count }, (_, i) => i).sort((a, b) => depth[a] - depth[b]);
  for (const [name, width] of [["points", 3], ["colors", 4], ["confidence", 1], ["scales", 3], ["rotations", 4], ["opacities", 1], ["normals", 4]]) {
    if (!data[name]) continue;
    const from = data[name], to = new from.constructor(from.length);
    for (let i = 0; i < count; i++) for (let j = 0; j < width; j++) to[i * width + j] = from[order[i] * width + j];
    scene.sorted ??= {};
    scene.sorted[name] ??= gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, scene.sorted[name]);
    gl.bufferData(gl.ARRAY_BUFFER, to, gl.DYNAMIC_DRAW);
  }
  sortedFor = axis;
}

const square = gl.createBuffer();
gl.bindBuffer(gl.ARRAY_BUFFER, square);
gl.bufferData(gl.ARRAY_BUFFER, new Float32Array([-1, -1, 1, -1, -1, 1, 1, 1]), gl.STATIC_DRAW);

function drawSplats(matrices) {
  sortSplats(matrices.view);
  const used = programs.splats, from = scene.sorted;
  use(used, matrices);
  attribute(used, "corner", square, 2);
  attribute(used, "place", from.points, 3, gl.FLOAT, false, 1);
  attribute(used, "color", from.colors, 4, gl.UNSIGNED_BYTE, true, 1);
  attribute(used, "confidence", from.confidence, 1, gl.FLOAT, false, 1);
  attribute(used, "scale", from.scales, 3, gl.FLOAT, false, 1);
  attribute(used, "rotation", from.rotations, 4, gl.FLOAT, false, 1);
  attribute(used, "opacity", from.opacities, 1, gl.FLOAT, false, 1);
  if (from.normals) attribute(used, "normal", from.normals, 4, gl.BYTE, true, 1);
  gl.depthMask(false);
  gl.enable(gl.BLEND);
  gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, scene.data.points.length / 3);
  gl.disable(gl.BLEND);
  gl.depthMask(true);
}

function drawPlain(matrices, places, colors, primitive, count, indexed) {
  use(programs.plain, matrices);
  if (primitive === gl.LINES) gl.uniform1i(gl.getUniformLocation(programs.plain, "mode"), 0);
  attribute(programs.plain, "place", places, 3);
  attribute(programs.plain, "color", colors, 4, gl.UNSIGNED_BYTE, true);
  if (!indexed) return gl.drawArrays(primitive, 0, count);
  gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, indexed);
  if (settings.inside) gl.enable(gl.CULL_FACE);
  gl.drawElements(primitive, count, gl.UNSIGNED_INT, 0);
  gl.disable(gl.CULL_FACE);
}

function draw() {
  waiting = false;
  const scale = Math.min(devicePixelRatio || 1, 2);
  canvas.width = Math.max(1, Math.round(canvas.clientWidth * scale));
  canvas.height = Math.max(1, Math.round(canvas.clientHeight * scale));
  gl.viewport(0, 0, canvas.width, canvas.height);
  gl.clearColor(...(settings.dark ? DARK : LIGHT).map((value) => value / 255), 1);
  gl.enable(gl.DEPTH_TEST);
  gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
  if (!scene) return;
  const matrices = orbit.matrices(canvas.width, canvas.height), { data, buffers } = scene;
  const lines = part("lines"), shown = kind();
  if (settings.cameras && data[lines])
    drawPlain(matrices, buffers[lines], buffers[part("line_colors")], gl.LINES, data[lines].length / 3);
  if (shown === "Mesh")
    drawPlain(matrices, buffers.vertices, buffers.vertex_colors, gl.TRIANGLES, data.triangles.length, buffers.triangles);
  else if (shown === "Gaussians") drawSplats(matrices);
  else drawPoints(matrices);
  const { show, level, state, mode, dark } = settings;  // what is on the screen now, for whoever waits for it
  Object.assign(canvas.dataset, { show, level, state, mode, dark, width: canvas.clientWidth, final: scene.final });
}

export function redraw() {
  if (!waiting) { waiting = true; requestAnimationFrame(draw); }
}

function tell() {
  document.documentElement.classList.toggle("dark", settings.dark);
  if (!scene) return;
  if (kind() === "Mesh") {
    status.textContent = `${(scene.data.triangles.length / 3).toLocaleString("en")} triangles`;
    return;
  }
  const confidence = scene.data[part("confidence")], least = threshold();
  const total = kind() === "Gaussians" ? confidence.length : Math.min(settings.count, confidence.length);
  let shown = 0;
  for (let i = 0; i < total; i++) if (confidence[i] > least) shown++;
  const after = isBefore() ? ", before refinement" : scene.final ? "" : ", growing";
  status.textContent = scene.version.startsWith("0.") || !(total || scene.final) ? "Nothing to show yet"
    : `${shown.toLocaleString("en")} ${kind() === "Gaussians" ? "Gaussians" : "points"}${after}`;
  status.dataset.shown = shown;
}

export function change(values) {
  const up = settings.up;
  Object.assign(settings, values);
  if (scene && up !== settings.up) refresh(false);
  tell();
  redraw();
}

async function follow() {
  let pause = 700;
  try {
    const answer = await fetch(`../scene/${token}?after=${encodeURIComponent(scene?.version ?? "")}`);
    if (answer.status === 200) {
      const next = parse(await answer.arrayBuffer()), before = scene;
      upload(next);
      scene = next;
      release(before);
      if (before?.sorted) release({ buffers: before.sorted });
      const same = before && before.version.split(".")[0] === next.version.split(".")[0];
      refresh(Boolean(same) && (before.final || !next.final) && orbit.touched);
      tell();
      redraw();
    } else if (answer.status === 404) {
      status.textContent = "This session is over; load the page again.";
      return;
    }
    if (scene?.final) pause = 1500;
  } catch { pause = 3000; }
  setTimeout(follow, pause);
}

addEventListener("message", (event) => { if (event.origin === location.origin) change(event.data); });
addEventListener("resize", redraw);
document.getElementById("reset").addEventListener("click", () => { orbit.touched = false; if (scene) refresh(false); redraw(); });
change(parent?.viewSettings ?? {});
follow();
