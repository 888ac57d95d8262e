/* The word OBABO (and BAB, with gamma = 0) by hand: many independent oscillators, blocks of them in registers and the
   first cache, SIMD across a block, threads across blocks. force(q) = linear q + cubic q^3. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#define BLOCK 32

void obabo(long count, long steps, double h, const double *gamma, double linear, double cubic, double *q, double *p) {
#pragma omp parallel for schedule(static)
    for (long first = 0; first < count; first += BLOCK) {
        double x[BLOCK], v[BLOCK], decay[BLOCK], force[BLOCK];
        for (int i = 0; i < BLOCK; i++) {
            x[i] = q[first + i];
            v[i] = p[first + i];
            decay[i] = exp(-gamma[first + i] * h / 2);
            force[i] = x[i] * (linear + cubic * x[i] * x[i]);
        }
        for (long step = 0; step < steps; step++)
            for (int i = 0; i < BLOCK; i++) {
                v[i] *= decay[i];
                v[i] -= h / 2 * force[i];
                x[i] += h * v[i];
                force[i] = x[i] * (linear + cubic * x[i] * x[i]);
                v[i] -= h / 2 * force[i];
                v[i] *= decay[i];
            }
        for (int i = 0; i < BLOCK; i++) {
            q[first + i] = x[i];
            p[first + i] = v[i];
        }
    }
}

/* The same with the O of one step's end joined to that of the next step's start: the least work for this word. */
void obabo_joined(long count, long steps, double h, const double *gamma, double linear, double cubic, double *q,
                  double *p) {
#pragma omp parallel for schedule(static)
    for (long first = 0; first < count; first += BLOCK) {
        double x[BLOCK], v[BLOCK], whole[BLOCK], half[BLOCK], force[BLOCK];
        for (int i = 0; i < BLOCK; i++) {
            x[i] = q[first + i];
            half[i] = exp(-gamma[first + i] * h / 2);
            whole[i] = half[i] * half[i];
            v[i] = p[first + i] * half[i];
            force[i] = x[i] * (linear + cubic * x[i] * x[i]);
        }
        for (long step = 0; step < steps; step++)
            for (int i = 0; i < BLOCK; i++) {
                v[i] -= h / 2 * force[i];
                x[i] += h * v[i];
                force[i] = x[i] * (linear + cubic * x[i] * x[i]);
                v[i] -= h / 2 * force[i];
                v[i] *= step + 1 < steps ? whole[i] : half[i];
            }
        for (int i = 0; i < BLOCK; i++) {
            q[first + i] = x[i];
            p[first + i] = v[i];
        }
    }
}

void verlet(long count, long steps, double h, double linear, double cubic, int pendulum, double *q, double *p) {
#pragma omp parallel for schedule(static)
    for (long first = 0; first < count; first += BLOCK) {
        double x[BLOCK], v[BLOCK];
        for (int i = 0; i < BLOCK; i++) {
            x[i] = q[first + i] + h / 2 * p[first + i];
            v[i] = p[first + i];
        }
        if (pendulum)
            for (long step = 0; step < steps; step++)
                for (int i = 0; i < BLOCK; i++) {
                    v[i] -= h * sin(x[i]);
                    x[i] += h * v[i];
                }
        else
            for (long step = 0; step < steps; step++)
                for (int i = 0; i < BLOCK; i++) {
                    v[i] -= h * x[i] * (linear + cubic * x[i] * x[i]);
                    x[i] += h * v[i];
                }
        for (int i = 0; i < BLOCK; i++) {
            q[first + i] = x[i] - h / 2 * v[i];
            p[first + i] = v[i];
        }
    }
}

/* OBABO for a force that is a formula in one position, or in two. */
#define OBABO(NAME, FORCE)                                                                                             \
    void NAME(long count, long steps, double h, const double *gamma, double *q, double *p) {                           \
        _Pragma("omp parallel for schedule(static)") for (long first = 0; first < count; first += BLOCK) {             \
            double x[BLOCK], v[BLOCK], decay[BLOCK], force[BLOCK];                                                     \
            for (int i = 0; i < BLOCK; i++) {                                                                          \
                x[i] = q[first + i];                                                                                   \
                v[i] = p[first + i];                                                                                   \
                decay[i] = exp(-gamma[first + i] * h / 2);                                                             \
                force[i] = FORCE(x[i]);                                                                                \
            }                                                                                                          \
            for (long step = 0; step < steps; step++)                                                                  \
                for (int i = 0; i < BLOCK; i++) {                                                                      \
                    v[i] = v[i] * decay[i] - h / 2 * force[i];                                                         \
                    x[i] += h * v[i];                                                                                  \
                    force[i] = FORCE(x[i]);                                                                            \
                    v[i] = (v[i] - h / 2 * force[i]) * decay[i];                                                       \
                }                                                                                                      \
            for (int i = 0; i < BLOCK; i++) {                                                                          \
                q[first + i] = x[i];                                                                                   \
                p[first + i] = v[i];                                                                                   \
            }                                                                                                          \
        }                                                                                                              \
    }

OBABO(obabo_pendulum, sin)

#define SLOPE_X(x, y) (-2 * (1 - (x)) - 400 * (x) * ((y) - (x) * (x)))
#define SLOPE_Y(x, y) (200 * ((y) - (x) * (x)))

/* Positions and momenta: all first components, then all second ones. */
void obabo_rosenbrock(long count, long steps, double h, const double *gamma, double *q, double *p) {
#pragma omp parallel for schedule(static)
    for (long first = 0; first < count; first += BLOCK) {
        double x[BLOCK], y[BLOCK], u[BLOCK], v[BLOCK], decay[BLOCK], fx[BLOCK], fy[BLOCK];
        for (int i = 0; i < BLOCK; i++) {
            x[i] = q[first + i], y[i] = q[count + first + i];
            u[i] = p[first + i], v[i] = p[count + first + i];
            decay[i] = exp(-gamma[first + i] * h / 2);
            fx[i] = SLOPE_X(x[i], y[i]), fy[i] = SLOPE_Y(x[i], y[i]);
        }
        for (long step = 0; step < steps; step++)
            for (int i = 0; i < BLOCK; i++) {
                u[i] = u[i] * decay[i] - h / 2 * fx[i];
                v[i] = v[i] * decay[i] - h / 2 * fy[i];
                x[i] += h * u[i];
                y[i] += h * v[i];
                fx[i] = SLOPE_X(x[i], y[i]), fy[i] = SLOPE_Y(x[i], y[i]);
                u[i] = (u[i] - h / 2 * fx[i]) * decay[i];
                v[i] = (v[i] - h / 2 * fy[i]) * decay[i];
            }
        for (int i = 0; i < BLOCK; i++) {
            q[first + i] = x[i], q[count + first + i] = y[i];
            p[first + i] = u[i], p[count + first + i] = v[i];
        }
    }
}

/* BAOAB under noise on a quadratic. A generator for each lane, xoshiro256+ of D. Blackman and S. Vigna, and the two
   normals of Box and Muller, the second kept for the next step: log, sqrt, sin and cos run as vectors. */
void langevin(long count, long steps, double h, double gamma, double sigma, double linear, uint64_t seed, double *q,
              double *p) {
    double decay = exp(-gamma * h), push = sigma * sqrt((1 - decay * decay) / (2 * gamma));
#pragma omp parallel for schedule(static)
    for (long first = 0; first < count; first += BLOCK) {
        double x[BLOCK], v[BLOCK], normal[2][BLOCK], uniform[2][BLOCK];
        uint64_t s[4][BLOCK], mixed = seed + 4 * first * 0x9e3779b97f4a7c15;
        for (int i = 0; i < BLOCK; i++) {
            x[i] = q[first + i], v[i] = p[first + i];
            for (int k = 0; k < 4; k++) { /* splitmix64 */
                uint64_t z = mixed += 0x9e3779b97f4a7c15;
                z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
                z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
                s[k][i] = z ^ (z >> 31);
            }
        }
        for (long step = 0; step < steps; step++) {
            if (step % 2 == 0) {
                for (int two = 0; two < 2; two++)
                    for (int i = 0; i < BLOCK; i++) {
                        uint64_t bits = ((s[0][i] + s[3][i]) >> 12) | 0x3ff0000000000000, t = s[1][i] << 17;
                        memcpy(&uniform[two][i], &bits, 8); /* in [1, 2) */
                        s[2][i] ^= s[0][i], s[3][i] ^= s[1][i], s[1][i] ^= s[2][i], s[0][i] ^= s[3][i];
                        s[2][i] ^= t, s[3][i] = (s[3][i] << 45) | (s[3][i] >> 19);
                    }
                for (int i = 0; i < BLOCK; i++) {
                    double radius = sqrt(-2 * log(2 - uniform[0][i])), angle = 6.283185307179586 * uniform[1][i];
                    normal[0][i] = radius * cos(angle);
                    normal[1][i] = radius * cos(angle - 1.5707963267948966); /* gcc calls a scalar sincos for both */
                }
            }
            for (int i = 0; i < BLOCK; i++) {
                v[i] -= h / 2 * linear * x[i];
                x[i] += h / 2 * v[i];
                v[i] = decay * v[i] + push * normal[step % 2][i];
                x[i] += h / 2 * v[i];
                v[i] -= h / 2 * linear * x[i];
            }
        }
        for (int i = 0; i < BLOCK; i++)
            q[first + i] = x[i], p[first + i] = v[i];
    }
}
