/* quadrature.c - Gauss-Legendre nodes by Newton's method on the Legendre polynomial (Golub & Welsch give the same to
 * 1e-15). */
#include <math.h>

#include "attribution/gradient_driver.h"

static const double pi = 3.14159265358979323846;

/* P_n(x) and its derivative by the three-term recurrence. */
static void legendre(int n, double x, double *value, double *derivative)
{
    double previous = 1, current = x;
    for (int k = 2; k <= n; k++) {
        double next = ((2.0 * k - 1) * x * current - (k - 1.0) * previous) / k;
        previous = current, current = next;
    }
    *value = current;
    *derivative = n * (x * current - previous) / (x * x - 1);
}

void attribution_gauss_legendre(int n, double *nodes, double *weights)
{
    for (int i = 0; i < n; i++) {
        double x = -cos(pi * (i + 0.75) / (n + 0.5)); /* Tricomi's estimate of the i-th root */
        double value = 0, derivative = 1;
        for (int iteration = 0; iteration < 100; iteration++) {
            legendre(n, x, &value, &derivative);
            double step = value / derivative;
            x -= step;
            if (fabs(step) < 1e-15) { break; }
        }
        legendre(n, x, &value, &derivative);
        nodes[i] = (1 + x) / 2;
        weights[i] = 1 / ((1 - x * x) * derivative * derivative); /* half of the weight on [-1, 1] */
    }
}
