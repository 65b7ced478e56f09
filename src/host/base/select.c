/* select.c - quickselect for the threshold, then one pass that hands out the ties in order. */
#include <string.h>

#include "base/select.h"

static double median_of_three(double a, double b, double c)
{
    if (a < b) { return b < c ? b : (a < c ? c : a); }
    return a < c ? a : (b < c ? c : b);
}

/* The value of rank k (from 0) of a[0 .. n-1]; reorders a. Hoare's partition: it stops on equal keys, so many ties cost
 * nothing. */
static double select_rank(double *a, int64_t n, int64_t k)
{
    int64_t low = 0, high = n - 1;
    while (low < high) {
        double pivot = median_of_three(a[low], a[low + (high - low) / 2], a[high]);
        int64_t i = low, j = high;
        while (i <= j) {
            while (a[i] < pivot) { i++; }
            while (pivot < a[j]) { j--; }
            if (i <= j) {
                double t = a[i];
                a[i++] = a[j];
                a[j--] = t;
            }
        }
        if (k <= j) {
            high = j;
        } else if (k >= i) {
            low = i;
        } else {
            return a[k];
        }
    }
    return a[k];
}

void spade_select_lowest(const double *scores, int64_t rows, int64_t columns, int64_t count, double *scratch,
                         uint8_t *mask)
{
    int64_t n = rows * columns;
    if (count <= 0 || count >= n) {
        memset(mask, count > 0, (size_t)n);
        return;
    }
    memcpy(scratch, scores, (size_t)n * sizeof *scratch);
    double threshold = select_rank(scratch, n, count - 1);
    int64_t ties = count;
    for (int64_t i = 0; i < n; i++) {
        mask[i] = scores[i] < threshold;
        ties -= mask[i];
    }
    for (int64_t r = 0; r < rows && ties > 0; r++) {
        for (int64_t c = 0; c < columns && ties > 0; c++) {
            if (scores[c * rows + r] == threshold) {
                mask[c * rows + r] = 1;
                ties--;
            }
        }
    }
}

void spade_select_rows(const double *scores, int64_t rows, int64_t columns, int64_t keep, uint8_t *mask)
{
    for (int64_t c = 0; c < columns; c++) {
        const double *own = scores + c * rows;
        for (int64_t r = 0; r < rows; r++) {
            int64_t higher = 0; /* scores that outrank this one */
            for (int64_t other = 0; other < columns; other++) {
                double score = scores[other * rows + r];
                higher += score > own[r] || (score == own[r] && other > c);
            }
            mask[c * rows + r] = higher >= keep;
        }
    }
}
