// The normal distribution, mixtures of it, and the links of mean responses: pure functions.

export function normalDensity(x, mean, sd) {
  const z = (x - mean) / sd;
  return Math.exp(-0.5 * z * z) / (sd * 2.5066282746310002);
}

// The distribution function of the standard normal: its series near 0, and far from it the continued
// fraction of the tail.
export function normalCdf(x) {
  const z = Math.abs(x);
  let tail;
  if (z > 38) tail = 0;
  else if (z > 3) {
    let f = 0;
    for (let k = 120; k > 0; k--) f = k / (z + f);
    tail = Math.exp(-0.5 * z * z) / (2.5066282746310002 * (z + f));
  } else {
    let term = z;
    let sum = z;
    for (let k = 3; Math.abs(term) > 1e-17 * sum; k += 2) {
      term *= (z * z) / k;
      sum += term;
    }
    tail = 0.5 - (sum * Math.exp(-0.5 * z * z)) / 2.5066282746310002;
  }
  return x < 0 ? tail : 1 - tail;
}

// A mixture of normals: its density and its quantiles. parts: [[mean, sd], ...].
export function mixtureDensity(parts, x) {
  let sum = 0;
  for (const [mean, sd] of parts) sum += normalDensity(x, mean, sd);
  return sum / parts.length;
}

export function mixtureQuantile(parts, p) {
  let low = Infinity;
  let high = -Infinity;
  for (const [mean, sd] of parts) {
    low = Math.min(low, mean - 9 * sd);
    high = Math.max(high, mean + 9 * sd);
  }
  for (let i = 0; i < 48; i++) {
    const middle = 0.5 * (low + high);
    let cdf = 0;
    for (const [mean, sd] of parts) cdf += sd > 0 ? normalCdf((middle - mean) / sd) : +(middle >= mean);
    if (cdf / parts.length < p) low = middle;
    else high = middle;
  }
  return 0.5 * (low + high);
}

// The quantile function of the standard normal, by Newton's method from a rational start.
export function normalQuantile(p) {
  if (p <= 0) return -Infinity;
  if (p >= 1) return Infinity;
  const t = Math.sqrt(-2 * Math.log(Math.min(p, 1 - p)));
  const start = t - (2.30753 + 0.27061 * t) / (1 + t * (0.99229 + 0.04481 * t));
  let z = p < 0.5 ? -start : start;
  for (let i = 0; i < 4; i++) z -= (normalCdf(z) - p) / normalDensity(z, 0, 1);
  return z;
}

// Links for which the mean response is drawn: from the linear predictor, and back.
export const INVERSE_LINKS = {
  identity: (eta) => eta,
  log: (eta) => Math.exp(Math.min(eta, 700)),
  logit: (eta) => 1 / (1 + Math.exp(-eta)),
  probit: (eta) => normalCdf(eta),
  cloglog: (eta) => -Math.expm1(-Math.exp(Math.min(eta, 700))),
  sqrt: (eta) => eta * eta,
};

export const FORWARD_LINKS = {
  identity: (mu) => mu,
  log: (mu) => Math.log(mu),
  logit: (mu) => Math.log(mu / (1 - mu)),
  probit: (mu) => normalQuantile(mu),
  cloglog: (mu) => Math.log(-Math.log1p(-mu)),
  sqrt: (mu) => Math.sqrt(mu),
};
