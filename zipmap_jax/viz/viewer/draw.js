// Unpacks the points; the layout is that of `encode_points` in zipmap_jax/viz/html.py.
function decodePoints(scene, base64) {
  const text = atob(base64.trim());
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  const n = scene.count;
  const words = new Uint16Array(bytes.buffer, 0, 4 * n);
  const position = new Float32Array(4 * n); // x y z, and the width of the pixel at that depth
  const color = new Uint8Array(4 * n);
  const [near, far] = scene.depth_range;
  const step = Math.log(far / near) / 65535;
  for (let i = 0; i < n; i++) {
    const { k, c2w: m } = scene.views[words[3 * n + i]];
    const z = near * Math.exp(words[2 * n + i] * step);
    const x = ((words[i] - k[2]) * z) / k[0], y = ((words[n + i] - k[3]) * z) / k[1];
    for (let row = 0; row < 3; row++) {
      const r = 4 * row;
      position[4 * i + row] = m[r] * x + m[r + 1] * y + m[r + 2] * z + m[r + 3];
    }
    position[4 * i + 3] = (z * scene.pixels_per_point) / k[0];
    for (let c = 0; c < 3; c++) color[4 * i + c] = bytes[8 * n + 3 * i + c];
  }
  shareSurfaces(position);
  return { count: n, position, color, view: words.slice(3 * n, 4 * n) };
}

// Points of a surface that several views show are closer together, so each may be smaller.
function shareSurfaces(position) {
  const n = position.length / 4;
  const widths = Float32Array.from({ length: n }, (_, i) => position[4 * i + 3]).sort();
  const cell = 8 * widths[n >> 1];
  if (!(cell > 0)) return;
  const bits = 21, area = new Float32Array(1 << bits), keys = new Uint32Array(n);
  for (let i = 0; i < n; i++) {
    const [x, y, z] = [0, 1, 2].map((c) => Math.floor(position[4 * i + c] / cell));
    const hash = Math.imul(x, 73856093) ^ Math.imul(y, 19349663) ^ Math.imul(z, 83492791);
    keys[i] = Math.imul(hash, 2654435761) >>> (32 - bits);
    area[keys[i]] += position[4 * i + 3] ** 2;
  }
  for (let i = 0; i < n; i++) {
    // A slanted plane has up to 1.7 times the area of a face of the cell.
    const layers = area[keys[i]] / (1.5 * cell * cell);
    position[4 * i + 3] /= Math.max(layers, 1) ** 0.4;
  }
}

// Eight segments per camera: two ends, colour, view.
function frustumSegments(scene, depth) {
  const ends = [], colors = [], views = [];
  scene.views.forEach(({ k, c2w: m, width, height, color }, view) => {
    const world = (x, y, z) => [0, 4, 8].map((r) => m[r] * x + m[r + 1] * y + m[r + 2] * z + m[r + 3]);
    const corner = (u, v) => world(((u - k[2]) * depth) / k[0], ((v - k[3]) * depth) / k[1], depth);
    const right = width - 0.5, bottom = height - 0.5;
    const c = [corner(-0.5, -0.5), corner(right, -0.5), corner(right, bottom), corner(-0.5, bottom)];
    const rgb = [1, 3, 5].map((i) => parseInt(color.slice(i, i + 2), 16));
    for (let i = 0; i < 4; i++) {
      ends.push(...world(0, 0, 0), ...c[i], ...c[i], ...c[(i + 1) % 4]);
      colors.push(...rgb, 255, ...rgb, 255);
      views.push(view, view);
    }
  });
  return {
    count: views.length,
    ends: new Float32Array(ends),
    color: new Uint8Array(colors),
    view: new Uint16Array(views),
  };
}

const POINT_VERTEX = `#version 300 es
layout(location = 0) in vec4 point;
layout(location = 1) in vec3 color;
layout(location = 2) in uint view;
uniform mat4 clip;
uniform float pixels, size, least;
uniform highp sampler2D shown;
flat out vec3 shade;
flat out float diameter;
void main() {
  gl_Position = clip * vec4(point.xyz, 1.0);
  if (texelFetch(shown, ivec2(view & 255u, view >> 8u), 0).r < 0.5) gl_Position = vec4(2.0);
  diameter = clamp(size * point.w * pixels / max(gl_Position.w, 1e-6), least, 32.0 * least);
  gl_PointSize = diameter;
  shade = color;
}`;
const POINT_FRAGMENT = `#version 300 es
precision mediump float;
flat in vec3 shade;
flat in float diameter;
out vec4 result;
void main() {
  vec2 p = gl_PointCoord - 0.5;
  if (diameter > 3.0 && dot(p, p) > 0.25) discard;
  result = vec4(shade, 1.0);
}`;
const LINE_VERTEX = `#version 300 es
layout(location = 0) in vec3 begin;
layout(location = 1) in vec3 end;
layout(location = 2) in vec4 color;
layout(location = 3) in uint view;
uniform mat4 clip;
uniform vec2 viewport;
uniform float width, near;
uniform int chosen;
flat out vec4 shade;
void main() {
  vec4 p = clip * vec4(begin, 1.0), q = clip * vec4(end, 1.0);
  shade = color;
  // An end behind the eye is moved to the near plane.
  if (p.w < near && q.w < near) { gl_Position = vec4(2.0, 2.0, 2.0, 1.0); return; }
  if (p.w < near) p = mix(q, p, (q.w - near) / (q.w - p.w));
  else if (q.w < near) q = mix(p, q, (p.w - near) / (p.w - q.w));
  vec2 along = (q.xy / q.w - p.xy / p.w) * viewport;
  along = length(along) > 0.0 ? normalize(along) : vec2(1.0, 0.0);
  float side = (gl_VertexID & 1) == 0 ? -1.0 : 1.0;
  float wide = int(view) == chosen ? 2.2 * width : width;
  gl_Position = gl_VertexID < 2 ? p : q;
  gl_Position.xy += vec2(-along.y, along.x) * side * wide / viewport * gl_Position.w;
}`;
const LINE_FRAGMENT = `#version 300 es
precision mediump float;
flat in vec4 shade;
out vec4 result;
void main() { result = shade; }`;

class Renderer {
  constructor(canvas, points, segments, viewCount) {
    const gl = canvas.getContext("webgl2", { antialias: true, powerPreference: "high-performance" });
    if (!gl) throw new Error("This browser offers no WebGL 2, which the viewer needs.");
    this.gl = gl;
    this.segmentCount = segments.count;
    this.points = this.program(POINT_VERTEX, POINT_FRAGMENT);
    this.lines = this.program(LINE_VERTEX, LINE_FRAGMENT);
    this.pointArray = gl.createVertexArray();
    gl.bindVertexArray(this.pointArray);
    this.attribute(0, points.position, 4, gl.FLOAT);
    this.attribute(1, points.color, 3, gl.UNSIGNED_BYTE, { stride: 4 });
    this.attribute(2, points.view, 1, gl.UNSIGNED_SHORT);
    this.lineArray = gl.createVertexArray();
    gl.bindVertexArray(this.lineArray);
    this.attribute(0, segments.ends, 3, gl.FLOAT, { stride: 24, divisor: 1 });
    this.attribute(1, null, 3, gl.FLOAT, { stride: 24, offset: 12, divisor: 1 });
    this.attribute(2, segments.color, 4, gl.UNSIGNED_BYTE, { divisor: 1 });
    this.attribute(3, segments.view, 1, gl.UNSIGNED_SHORT, { divisor: 1 });
    this.shown = gl.createTexture();
    this.rows = Math.ceil(viewCount / 256) || 1;
    gl.bindTexture(gl.TEXTURE_2D, this.shown);
    for (const name of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) {
      gl.texParameteri(gl.TEXTURE_2D, name, gl.NEAREST);
    }
    gl.enable(gl.DEPTH_TEST);
  }

  program(vertex, fragment) {
    const gl = this.gl, program = gl.createProgram();
    for (const [type, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
      const shader = gl.createShader(type);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) {
        throw new Error(gl.getShaderInfoLog(shader));
      }
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
    const uniform = (name) => gl.getUniformLocation(program, name);
    return { program, uniform };
  }

  // Without data, the attribute reads the buffer of the previous call.
  attribute(location, data, components, type, { stride = 0, offset = 0, divisor = 0 } = {}) {
    const gl = this.gl;
    if (data) {
      gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
      gl.bufferData(gl.ARRAY_BUFFER, data, gl.STATIC_DRAW);
    }
    gl.enableVertexAttribArray(location);
    if (type === gl.UNSIGNED_SHORT) gl.vertexAttribIPointer(location, components, type, stride, offset);
    else gl.vertexAttribPointer(location, components, type, type === gl.UNSIGNED_BYTE, stride, offset);
    gl.vertexAttribDivisor(location, divisor);
  }

  setShown(flags) {
    const gl = this.gl, texels = new Uint8Array(256 * this.rows);
    flags.forEach((flag, i) => { texels[i] = flag ? 255 : 0; });
    gl.bindTexture(gl.TEXTURE_2D, this.shown);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.R8, 256, this.rows, 0, gl.RED, gl.UNSIGNED_BYTE, texels);
  }

  draw({ clip, halfHeight, near, count, size, background, cameras, active, density }) {
    const gl = this.gl, { width, height } = gl.canvas;
    gl.viewport(0, 0, width, height);
    gl.clearColor(...background, 1);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.useProgram(this.points.program);
    gl.uniformMatrix4fv(this.points.uniform("clip"), false, clip);
    gl.uniform1f(this.points.uniform("pixels"), height / (2 * halfHeight));
    gl.uniform1f(this.points.uniform("size"), size);
    gl.uniform1f(this.points.uniform("least"), density);
    gl.bindVertexArray(this.pointArray);
    gl.drawArrays(gl.POINTS, 0, count);
    if (!cameras) return;
    gl.useProgram(this.lines.program);
    gl.uniformMatrix4fv(this.lines.uniform("clip"), false, clip);
    gl.uniform2f(this.lines.uniform("viewport"), width, height);
    gl.uniform1f(this.lines.uniform("width"), 1.6 * density);
    gl.uniform1f(this.lines.uniform("near"), near);
    gl.uniform1i(this.lines.uniform("chosen"), active);
    gl.bindVertexArray(this.lineArray);
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, this.segmentCount);
  }
}
