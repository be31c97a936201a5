// WebGL 2 programs: points as discs, Gaussians as ellipses, triangles and lines.
const PALETTE = `
vec3 palette(float t) {  // dark blue over teal to yellow
  t = clamp(t, 0., 1.);
  vec3 low = mix(vec3(.27, .0, .33), vec3(.13, .57, .55), min(1., 2. * t));
  return mix(low, vec3(.99, .91, .14), max(0., 2. * t - 1.));
}`;

const SHADE = `
uniform int mode; uniform vec2 confidences, heights; uniform vec3 up;
${PALETTE}
vec3 shade(vec3 rgb, float confidence, vec3 place) {
  if (mode == 1) return palette(log(max(confidence / confidences.x, 1e-3)) / log(confidences.y / confidences.x + 1e-3));
  if (mode == 2) return palette((dot(place, up) - heights.x) / (heights.y - heights.x));
  return rgb;
}`;

const BACKS = `
uniform bool inside; uniform vec3 eye;
bool behind(vec3 place, vec4 normal) {  // the side that no camera saw is towards the viewer: the near wall of a room
  vec3 towards = eye - place;
  return inside && dot(normal.xyz, towards) < -.05 * length(towards);
}`;

export const POINTS = [`#version 300 es
in vec3 place; in vec4 color, normal; in float confidence;
uniform mat4 view, projection; uniform float threshold, radius, focal;
out vec3 shown;
${SHADE}
${BACKS}
void main() {
  vec4 local = view * vec4(place, 1.);
  gl_Position = confidence > threshold && !behind(place, normal) ? projection * local : vec4(2., 2., 2., 1.);
  gl_PointSize = clamp(2. * radius * focal / max(-local.z, 1e-6), 1.5, 64.);
  shown = shade(color.rgb, confidence, place);
}`, `#version 300 es
precision highp float;
in vec3 shown; out vec4 result;
void main() {
  vec2 p = 2. * gl_PointCoord - 1.;
  if (dot(p, p) > 1.) discard;
  result = vec4(shown, 1.);
}`];

// Each Gaussian is a square about its projection (Zwicker et al. 2001, EWA splatting), three deviations wide.
export const SPLATS = [`#version 300 es
in vec2 corner; in vec3 place, scale; in vec4 rotation, color, normal; in float opacity, confidence;
uniform mat4 view, projection; uniform float threshold, focal; uniform vec2 resolution;
out vec4 shown; out vec2 offset; flat out vec3 conic;
${SHADE}
${BACKS}
void main() {
  vec4 local = view * vec4(place, 1.);
  if (local.z > -1e-4 || confidence <= threshold || behind(place, normal)) { gl_Position = vec4(2., 2., 2., 1.); return; }
  vec4 q = normalize(rotation);
  float w = q.x, x = q.y, y = q.z, z = q.w;
  mat3 turn = mat3(1.-2.*(y*y+z*z), 2.*(x*y+w*z), 2.*(x*z-w*y), 2.*(x*y-w*z), 1.-2.*(x*x+z*z), 2.*(y*z+w*x),
                   2.*(x*z+w*y), 2.*(y*z-w*x), 1.-2.*(x*x+y*y));
  mat3 axes = mat3(view) * turn * mat3(scale.x, 0., 0., 0., scale.y, 0., 0., 0., scale.z);
  float d = -local.z;
  vec3 rowx = vec3(focal / d, 0., focal * local.x / (d * d)), rowy = vec3(0., focal / d, focal * local.y / (d * d));
  vec3 a = rowx * axes, b = rowy * axes;
  float xx = dot(a, a) + .3, yy = dot(b, b) + .3, xy = dot(a, b), det = max(xx * yy - xy * xy, 1e-9);
  conic = vec3(yy, -xy, xx) / det;
  float reach = min(3. * sqrt(.5 * (xx + yy) + sqrt(max(.25 * (xx - yy) * (xx - yy) + xy * xy, 0.))), 2048.);
  offset = corner * reach;
  vec4 center = projection * local;
  gl_Position = center + vec4(2. * offset / resolution * center.w, 0., 0.);
  shown = vec4(shade(color.rgb, confidence, place), opacity);
}`, `#version 300 es
precision highp float;
in vec4 shown; in vec2 offset; flat in vec3 conic; out vec4 result;
void main() {
  float power = .5 * (conic.x * offset.x * offset.x + conic.z * offset.y * offset.y) + conic.y * offset.x * offset.y;
  float alpha = min(.99, shown.a * exp(-power));
  if (alpha < 1. / 255.) discard;
  result = vec4(shown.rgb * alpha, alpha);
}`];

export const PLAIN = [`#version 300 es
in vec3 place; in vec4 color;
uniform mat4 view, projection;
out vec3 shown;
${SHADE}
void main() {
  gl_Position = projection * view * vec4(place, 1.);
  shown = shade(color.rgb, 1., place);
}`, `#version 300 es
precision highp float;
in vec3 shown; out vec4 result;
void main() { result = vec4(shown, 1.); }`];
