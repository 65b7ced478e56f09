/* index.c - finding by name: a sorted array and binary search. */
#include "onnx/reader.h"

static int compare(const void *a, const void *b)
{
    const onnx_index *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order ? order : (x->number > y->number) - (x->number < y->number);
}

void onnx_index_sort(onnx_index *index, int count)
{
    if (count > 1) { qsort(index, (size_t)count, sizeof *index, compare); }
}

const onnx_index *onnx_index_find(const onnx_index *index, int count, const char *name)
{
    int low = 0, high = count;
    while (low < high) {
        int middle = low + (high - low) / 2;
        if (strcmp(index[middle].name, name) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < count && strcmp(index[low].name, name) == 0 ? &index[low] : NULL;
}

int onnx_find_initializer(const onnx_model *model, const char *name)
{
    const onnx_index *entry = onnx_index_find(model->by_name, model->initializer_count, name);
    return entry ? entry->number : -1;
}
