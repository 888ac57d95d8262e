/* Verlet (BAB) and Langevin (BAOAB) by hand: a trajectory a thread, its state in registers, the least work for the word.
   run() fills q and p on the device, runs, and returns the milliseconds of the fastest of `repeats` launches. */
#include <cuda_runtime.h>

template <typename real> struct Quadratic {
  static __device__ void force(real x, real, real &f, real &) { f = x; }
  static constexpr int size = 1;
};

template <typename real> struct Duffing {
  static __device__ void force(real x, real, real &f, real &) { f = x * (1 + x * x); }
  static constexpr int size = 1;
};

template <typename real> struct Pendulum {
  static __device__ void force(real x, real, real &f, real &) { f = sin(x); }
  static constexpr int size = 1;
};

template <typename real> struct Rosenbrock {
  static __device__ void force(real x, real y, real &f, real &g) {
    real away = y - x * x;
    f = -2 * (1 - x) - 400 * x * away;
    g = 200 * away;
  }
  static constexpr int size = 2;
};

/* Philox-2x32 of ten rounds, and Box and Muller's transform of its 64 bits: a number of a point and a step. */
template <typename real> __device__ real normal(unsigned point, unsigned step) {
  unsigned key = 1, x = point, y = step;
  for (int round = 0; round < 10; ++round, key += 0x9E3779B9u) {
    unsigned high = __umulhi(0xD256D193u, x), low = 0xD256D193u * x;
    x = high ^ key ^ y, y = low;
  }
  const real unit = (real)2.3283064365386963e-10;
  return sqrt(-2 * log((x + (real)0.5) * unit)) * cospi(2 * (y * unit));
}

template <typename real, template <typename> class Potential>
__global__ void verlet(long points, int steps, real h, const real *start, real *q, real *p) {
  long i = blockIdx.x * (long)blockDim.x + threadIdx.x;
  if (i >= points) return;
  constexpr bool two = Potential<real>::size == 2;
  real x = start[i], y = two ? start[points + i] : 0, u = 0, v = 0, f, g = 0;
  Potential<real>::force(x, y, f, g);
  u -= h / 2 * f, v -= h / 2 * g;
  for (int step = 0; step < steps; ++step) {
    x += h * u, y += h * v;
    Potential<real>::force(x, y, f, g);
    u -= h * f, v -= h * g;
  }
  q[i] = x, p[i] = u + h / 2 * f;
  if (two) q[points + i] = y, p[points + i] = v + h / 2 * g;
}

template <typename real>
__global__ void langevin(long points, int steps, real h, real gamma, real sigma, const real *start, real *q, real *p) {
  long i = blockIdx.x * (long)blockDim.x + threadIdx.x;
  if (i >= points) return;
  real x = start[i], u = 0, f, g, decay = exp(-gamma * h), spread = sigma * sqrt((1 - decay * decay) / (2 * gamma));
  Duffing<real>::force(x, 0, f, g);
  for (int step = 0; step < steps; ++step) {
    u -= h / 2 * f;
    x += h / 2 * u;
    u = decay * u + spread * normal<real>(i, step);
    x += h / 2 * u;
    Duffing<real>::force(x, 0, f, g);
    u -= h / 2 * f;
  }
  q[i] = x, p[i] = u;
}

template <typename real>
double timed(int potential, long points, int steps, double h, double gamma, double sigma, const real *start, real *q,
             real *p, int repeats) {
  int size = potential == 3 ? 2 : 1, blocks = (points + 127) / 128;
  size_t bytes = size * points * sizeof(real);
  real *s, *a, *b;
  if (cudaMalloc(&s, bytes) || cudaMalloc(&a, bytes) || cudaMalloc(&b, bytes)) return -1;
  cudaMemcpy(s, start, bytes, cudaMemcpyHostToDevice);
  cudaEvent_t begin, end;
  cudaEventCreate(&begin), cudaEventCreate(&end);
  double best = 1e30;
  for (int k = 0; k < repeats + 1; ++k) {
    cudaEventRecord(begin);
    if (potential == 0) verlet<real, Quadratic><<<blocks, 128>>>(points, steps, h, s, a, b);
    if (potential == 1) verlet<real, Duffing><<<blocks, 128>>>(points, steps, h, s, a, b);
    if (potential == 2) verlet<real, Pendulum><<<blocks, 128>>>(points, steps, h, s, a, b);
    if (potential == 3) verlet<real, Rosenbrock><<<blocks, 128>>>(points, steps, h, s, a, b);
    if (potential == 4) langevin<real><<<blocks, 128>>>(points, steps, h, gamma, sigma, s, a, b);
    cudaEventRecord(end);
    cudaEventSynchronize(end);
    float ms;
    cudaEventElapsedTime(&ms, begin, end);
    if (k && ms < best) best = ms;
  }
  cudaMemcpy(q, a, bytes, cudaMemcpyDeviceToHost);
  cudaMemcpy(p, b, bytes, cudaMemcpyDeviceToHost);
  bool failed = cudaGetLastError() != cudaSuccess;
  cudaFree(s), cudaFree(a), cudaFree(b);
  return failed ? -1 : best;
}

extern "C" double run32(int potential, long points, int steps, double h, double gamma, double sigma, const float *start,
                        float *q, float *p, int repeats) {
  return timed<float>(potential, points, steps, h, gamma, sigma, start, q, p, repeats);
}

extern "C" double run64(int potential, long points, int steps, double h, double gamma, double sigma,
                        const double *start, double *q, double *p, int repeats) {
  return timed<double>(potential, points, steps, h, gamma, sigma, start, q, p, repeats);
}
