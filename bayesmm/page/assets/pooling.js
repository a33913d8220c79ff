// The mathematics of partial pooling: pure functions of numbers, without a document.
//
// Level j has the quadratic log-likelihood with precision P = G_j / sigma^2 and P times its
// estimate c = c_j / sigma^2, and the prior theta_j ~ N(beta, t Sigma). Then, given beta,
//
//   V = t Sigma (I + t P Sigma)^-1,    theta = beta + V (c - P beta),    omega = V / (t Sigma),
//
// and beta, with a flat prior, is the generalised least-squares estimate with the weights
// W = (I + t P Sigma)^-1 P. The factor t is 1 for partial pooling; 0 and Infinity are the limits of
// complete pooling and of none, which are taken exactly.
//
// Everything is written for two effects, with [xx, xy, yy] for a symmetric matrix; one effect is
// the case in which all of the second is 0. With adj the adjugate, D = det(I + t P Sigma),
//
//   D W = P + t det(P) adj(Sigma),    D V = t Sigma + t^2 det(Sigma) adj(P),
//
// which needs no inverse: P and Sigma may be singular.

const SINGULAR = 1e-11;

function adjugate(m) {
  return [m[2], -m[1], m[0]];
}

// The determinant of a positive semidefinite matrix, exactly 0 where it is one of rounding.
function determinant(m) {
  const det = m[0] * m[2] - m[1] * m[1];
  return det > SINGULAR * m[0] * m[2] ? det : 0;
}

function traceOfProduct(a, b) {
  return Math.max(0, a[0] * b[0] + 2 * a[1] * b[1] + a[2] * b[2]);
}

function apply(m, v) {
  return [m[0] * v[0] + m[1] * v[1], m[1] * v[0] + m[2] * v[1]];
}

function plus(a, b, factor = 1) {
  return [a[0] + factor * b[0], a[1] + factor * b[1], a[2] + factor * b[2]];
}

function times(m, factor) {
  return [m[0] * factor, m[1] * factor, m[2] * factor];
}

// The product of two symmetric matrices, by rows.
function product(a, b) {
  return [
    a[0] * b[0] + a[1] * b[1],
    a[0] * b[1] + a[1] * b[2],
    a[1] * b[0] + a[2] * b[1],
    a[1] * b[1] + a[2] * b[2],
  ];
}

// L m L' for L by rows.
function congruence(L, m) {
  const [p, q, r, s] = L;
  return [
    p * p * m[0] + 2 * p * q * m[1] + q * q * m[2],
    p * r * m[0] + (p * s + q * r) * m[1] + q * s * m[2],
    r * r * m[0] + 2 * r * s * m[1] + s * s * m[2],
  ];
}

// A payload (see payload.py) as what `solve` wants.
export function makeModel(payload) {
  const K = payload.effects.length;
  const J = payload.levels.length;
  const G = [];
  const c = [];
  for (let j = 0; j < J; j++) {
    G.push(K === 1 ? [payload.G[j], 0, 0] : payload.G.slice(3 * j, 3 * j + 3));
    c.push(K === 1 ? [payload.c[j], 0] : payload.c.slice(2 * j, 2 * j + 2));
  }
  const rows = payload.n.reduce((sum, n) => sum + n, 0);
  return {
    K,
    J,
    G,
    c,
    meanG: times(total(G, 3), 1 / Math.max(rows, 1)),
    n: payload.n,
    population: [payload.effects[0].population, K === 2 && payload.effects[1].population],
    beta: [payload.beta[0], K === 2 ? payload.beta[1] : 0],
    outlier: {
      w: payload.outlier.w,
      z: payload.outlier.z[0].map((z, j) => [z, K === 2 ? payload.outlier.z[1][j] : 0]),
    },
  };
}

export function covariance(sd, cor) {
  const second = sd.length > 1 ? sd[1] : 0;
  return [sd[0] * sd[0], (cor || 0) * sd[0] * second, second * second];
}

// The factor on Sigma of the slider from no pooling (0) over partial (1/2) to complete (1).
export function poolingFactor(position) {
  if (position <= 0) return Infinity;
  return position >= 1 ? 0 : Math.pow((1 - position) / position, 2);
}

// P and c of every level, with what the reader changed: rows, shifts, an outlier, levels left out.
//
// setting: sigma; and, each optional, multiplier (of all n), n ({level: rows}), shift
// ({level: [by effect]}), outlier ({level: working response}), out ({level: true}).
export function information(model, setting) {
  const precision = 1 / (setting.sigma * setting.sigma);
  const { multiplier = 1, n = {}, shift = {}, outlier = {}, out = {} } = setting;
  const P = [];
  const c = [];
  const rows = [];
  for (let j = 0; j < model.J; j++) {
    if (out[j]) {
      P.push([0, 0, 0]);
      c.push([0, 0]);
      rows.push(0);
      continue;
    }
    const share = n[j] === undefined ? multiplier : n[j] / Math.max(model.n[j], 1);
    let G = times(model.G[j], share * precision);
    let right = model.c[j].map((x) => x * share * precision);
    let count = n[j] === undefined ? multiplier * model.n[j] : n[j];
    if (shift[j]) {
      const moved = apply(G, [shift[j][0], shift[j][1] || 0]);
      right = [right[0] + moved[0], right[1] + moved[1]];
    }
    if (outlier[j] !== undefined) {
      const z = model.outlier.z[j];
      const w = model.outlier.w[j] * precision;
      G = plus(G, [z[0] * z[0], z[0] * z[1], z[1] * z[1]], w);
      right = [right[0] + w * z[0] * outlier[j], right[1] + w * z[1] * outlier[j]];
      count += 1;
    }
    P.push(G);
    c.push(right);
    rows.push(count);
  }
  return { P, c, n: rows };
}

// W = A + B / t for t to infinity, and (I + t P Sigma)^-1 c = a + b / t; see `population`.
function expansions(P, c, S) {
  const detP = determinant(P);
  const detS = determinant(S);
  const trace = traceOfProduct(P, S);
  const none = [0, 0, 0];
  if (trace === 0) return { A: P, B: none, a: c, b: [0, 0] };
  const lifted = apply(adjugate(S), apply(adjugate(P), c));
  if (detS > 0) {
    const scale = detP > 0 ? 1 / (detP * detS) : 1 / trace;
    const B = detP > 0 ? times(adjugate(S), 1 / detS) : times(P, scale);
    const b = detP > 0 ? lifted.map((x) => x * scale) : c.map((x) => x * scale);
    return { A: none, B, a: [0, 0], b };
  }
  const A = times(adjugate(S), detP / trace);
  const a = lifted.map((x) => x / trace);
  return {
    A,
    B: times(plus(P, A, -1), 1 / trace),
    a,
    b: [(c[0] - a[0]) / trace, (c[1] - a[1]) / trace],
  };
}

// The least-squares solution of m x = v for the effects in `mask`, in the directions that m knows.
function solveMasked(m, v, mask) {
  if (!mask[0] && !mask[1]) return { x: [0, 0], inverse: [0, 0, 0], complete: true };
  if (mask[0] && mask[1]) {
    const det = determinant(m);
    if (det > 0) {
      const inverse = times(adjugate(m), 1 / det);
      return { x: apply(inverse, v), inverse, complete: true };
    }
    const size = m[0] + m[2];
    if (size === 0) return { x: [0, 0], inverse: [0, 0, 0], complete: false };
    const inverse = times(m, 1 / (size * size));
    return { x: apply(inverse, v), inverse, complete: false };
  }
  const k = mask[0] ? 0 : 1;
  const own = m[2 * k];
  if (own === 0) return { x: [0, 0], inverse: [0, 0, 0], complete: false };
  const x = [0, 0];
  const inverse = [0, 0, 0];
  x[k] = v[k] / own;
  inverse[2 * k] = 1 / own;
  return { x, inverse, complete: true };
}

function total(parts, size) {
  const sum = new Array(size).fill(0);
  for (const part of parts) for (let i = 0; i < size; i++) sum[i] += part[i];
  return sum;
}

// beta, its covariance (`finite`), and the part of it that grows with t (`growing`).
function population(model, P, c, S, t) {
  const mask = model.population;
  const zero = [0, 0, 0];
  if (Number.isFinite(t)) {
    const W = [];
    const right = [];
    for (let j = 0; j < model.J; j++) {
      const detP = determinant(P[j]);
      const D = 1 + t * traceOfProduct(P[j], S) + t * t * detP * determinant(S);
      W.push(times(plus(P[j], adjugate(S), t * detP), 1 / D));
      const lifted = apply(adjugate(S), apply(adjugate(P[j]), c[j]));
      right.push([(c[j][0] + t * lifted[0]) / D, (c[j][1] + t * lifted[1]) / D]);
    }
    const found = solveMasked(total(W, 3), total(right, 2), mask);
    const known = found.complete;
    return {
      beta: known ? found.x : model.beta.slice(),
      finite: known ? found.inverse : zero,
      growing: known ? zero : [mask[0] ? 1 : 0, 0, mask[1] ? 1 : 0],
    };
  }
  const parts = P.map((p, j) => expansions(p, c[j], S));
  const A = total(parts.map((x) => x.A), 3);
  const B = total(parts.map((x) => x.B), 3);
  const a = total(parts.map((x) => x.a), 2);
  const b = total(parts.map((x) => x.b), 2);
  // First what the leading order decides, then in the directions that it leaves open the next.
  const first = solveMasked(A, a, mask);
  if (first.complete) return { beta: first.x, finite: first.inverse, growing: zero };
  const moved = apply(B, first.x);
  const rest = [b[0] - moved[0], b[1] - moved[1]];
  if (first.inverse[0] === 0 && first.inverse[2] === 0) {
    const second = solveMasked(B, b, mask);
    if (!second.complete) return { beta: model.beta.slice(), finite: zero, growing: [1, 0, 1] };
    return { beta: second.x, finite: zero, growing: second.inverse };
  }
  // Both effects, and A of rank one: along its null space, which is the range of Sigma.
  const along = S[0] >= S[2] ? [S[0], S[1]] : [S[1], S[2]];
  const weight = congruence([along[0], along[1], 0, 0], B)[0];
  if (weight === 0) return { beta: first.x, finite: first.inverse, growing: [1, 0, 1] };
  const y = (along[0] * rest[0] + along[1] * rest[1]) / weight;
  return {
    beta: [first.x[0] + y * along[0], first.x[1] + y * along[1]],
    finite: first.inverse,
    growing: [along[0] ** 2, along[0] * along[1], along[1] ** 2].map((x) => x / weight),
  };
}

// The conditional covariance V of one level and what multiplies c - P beta to get theta - beta.
function conditional(P, S, t) {
  const detP = determinant(P);
  const detS = determinant(S);
  const trace = traceOfProduct(P, S);
  if (Number.isFinite(t)) {
    const D = 1 + t * trace + t * t * detP * detS;
    const V = times(plus(times(S, t), adjugate(P), t * t * detS), 1 / D);
    const omega = [0, 2].map((k) => (S[k] > 0 ? (S[k] + t * detS * adjugate(P)[k]) / (D * S[k]) : 1));
    return { V, move: V, omega, keep: keepOf(P, S, t, D) };
  }
  if (detP > 0 && detS > 0) {
    const V = times(adjugate(P), 1 / detP);
    return { V, move: V, omega: [0, 0], keep: [0, 0, 0, 0] };
  }
  if (trace === 0) {
    const V = [S[0] > 0 ? Infinity : 0, 0, S[2] > 0 ? Infinity : 0];
    return { V, move: [0, 0, 0], omega: [1, 1], keep: [1, 0, 0, 1] };
  }
  const move = times(S, 1 / trace);
  const open = adjugate(P);
  const V = [0, 2].map((k) => (detS > 0 && open[k] > 0 ? Infinity : move[k]));
  const omega = [0, 2].map((k) => (S[k] > 0 ? (detS * open[k]) / (trace * S[k]) : 1));
  const keep = product(adjugate(P), adjugate(S)).map((x) => x / trace);
  return { V: [V[0], move[1], V[1]], move, omega, keep };
}

// (I + t Sigma P)^-1, by rows: how much of beta theta keeps.
function keepOf(P, S, t, D) {
  const open = product(adjugate(P), adjugate(S));
  return [1 + t * open[0], t * open[1], t * open[2], 1 + t * open[3]].map((x) => x / D);
}

// Pool all levels.
//
// setting: as in `information`, with sd (one or two), cor, and factor (t).
// Returns beta, betaSd, and, effect first, theta, sd (with the uncertainty of beta), conditionalSd
// (without), omega, unpooled, unpooledSd (NaN where there is none); n.
export function solve(model, setting) {
  const S = covariance(setting.sd, setting.cor);
  const t = setting.factor === undefined ? 1 : setting.factor;
  const { P, c, n } = information(model, setting);
  const { beta, finite, growing } = population(model, P, c, S, t);
  const { K, J } = model;
  const empty = () => Array.from({ length: K }, () => new Float64Array(J));
  const found = {
    beta,
    betaSd: [0, 2].slice(0, K).map((k) => (growing[k] > 0 ? Infinity : Math.sqrt(finite[k]))),
    betaCovariance: finite,
    theta: empty(),
    sd: empty(),
    conditionalSd: empty(),
    omega: empty(),
    unpooled: empty(),
    unpooledSd: empty(),
    covariance: new Array(J),
    n,
  };
  for (let j = 0; j < J; j++) {
    const { V, move, omega, keep } = conditional(P[j], S, t);
    const off = apply(P[j], beta);
    const change = apply(move, [c[j][0] - off[0], c[j][1] - off[1]]);
    const added = congruence(keep, finite);
    const unbounded = congruence(keep, growing);
    const alone = withoutPooling(P[j], c[j], K);
    found.covariance[j] = plus(V, added);
    for (let k = 0; k < K; k++) {
      const i = 2 * k;
      found.theta[k][j] = beta[k] + change[k];
      found.omega[k][j] = omega[k];
      found.conditionalSd[k][j] = Math.sqrt(V[i]);
      found.sd[k][j] = unbounded[i] > 1e-12 * growing[i] ? Infinity : Math.sqrt(V[i] + added[i]);
      found.unpooled[k][j] = alone.estimate[k];
      found.unpooledSd[k][j] = Math.sqrt(alone.variance[k]);
    }
  }
  return found;
}

// The estimate of a level from its own rows, NaN where these do not determine it.
function withoutPooling(P, c, K) {
  if (K === 1) {
    return P[0] > 0
      ? { estimate: [c[0] / P[0]], variance: [1 / P[0]] }
      : { estimate: [NaN], variance: [NaN] };
  }
  const det = determinant(P);
  if (det === 0) return { estimate: [NaN, NaN], variance: [NaN, NaN] };
  const inverse = times(adjugate(P), 1 / det);
  return { estimate: apply(inverse, c), variance: [inverse[0], inverse[2]] };
}

// The pooling factor that a level with so many average rows would have, by effect.
export function omegaOfRows(model, setting, rows) {
  const S = covariance(setting.sd, setting.cor);
  const t = setting.factor === undefined ? 1 : setting.factor;
  const P = times(model.meanG, rows / (setting.sigma * setting.sigma));
  return conditional(P, S, t).omega;
}

// An ellipse of a covariance around a point, as points.
export function ellipse(center, m, radius, points = 72) {
  const middle = (m[0] + m[2]) / 2;
  const half = Math.hypot((m[0] - m[2]) / 2, m[1]);
  const angle = 0.5 * Math.atan2(2 * m[1], m[0] - m[2]);
  const a = radius * Math.sqrt(Math.max(middle + half, 0));
  const b = radius * Math.sqrt(Math.max(middle - half, 0));
  const path = [];
  for (let i = 0; i < points; i++) {
    const u = (2 * Math.PI * i) / points;
    const x = a * Math.cos(u);
    const y = b * Math.sin(u);
    path.push([
      center[0] + x * Math.cos(angle) - y * Math.sin(angle),
      center[1] + x * Math.sin(angle) + y * Math.cos(angle),
    ]);
  }
  return path;
}
