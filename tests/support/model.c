/* model.c - see the header. */
#include "support/model.h"

static wire with_attribute(wire node, const char *name, int kind, wire content)
{
    wire attribute = {0};
    wire_text(&attribute, 1, name);
    wire_raw(&attribute, content.bytes, content.size);
    wire_number(&attribute, 20, (uint64_t)kind);
    wire_free(&content);
    wire_message(&node, 5, attribute);
    return node;
}

wire with_int(wire node, const char *name, int64_t value)
{
    wire content = {0};
    wire_number(&content, 3, (uint64_t)value);
    return with_attribute(node, name, 2, content);
}

wire with_ints(wire node, const char *name, int count, const int64_t *values)
{
    wire content = {0};
    for (int i = 0; i < count; i++) { wire_number(&content, 8, (uint64_t)values[i]); }
    return with_attribute(node, name, 7, content);
}

wire with_float(wire node, const char *name, float value)
{
    wire content = {0};
    wire_float(&content, 2, value);
    return with_attribute(node, name, 1, content);
}

wire with_text(wire node, const char *name, const char *value)
{
    wire content = {0};
    wire_text(&content, 4, value);
    return with_attribute(node, name, 3, content);
}

wire tensor_of(const char *name, int rank, const int64_t *dims, const float *values)
{
    wire out = tensor_head(name, 1, rank, dims);
    size_t count = 1;
    for (int i = 0; i < rank; i++) { count *= (size_t)dims[i]; }
    wire_bytes(&out, 9, values, count * sizeof *values);
    return out;
}

wire tensor_int64(const char *name, int count, const int64_t *values)
{
    const int64_t dims[1] = {count};
    wire out = tensor_head(name, 7, 1, dims);
    wire_bytes(&out, 9, values, (size_t)count * sizeof *values);
    return out;
}

float pseudo_random(uint32_t seed, uint32_t index)
{
    uint32_t hash = seed * 0x9e3779b9u + index * 0x85ebca6bu + 1;
    hash = (hash ^ hash >> 16) * 0x7feb352du;
    hash = (hash ^ hash >> 15) * 0x846ca68bu;
    hash ^= hash >> 16;
    return (float)(hash >> 8) / 8388608.0f - 1.0f;
}

wire tensor_random(const char *name, int rank, const int64_t *dims, uint32_t seed)
{
    wire out = tensor_head(name, 1, rank, dims), data = {0};
    int64_t count = 1;
    for (int i = 0; i < rank; i++) { count *= dims[i]; }
    for (int64_t i = 0; i < count; i++) {
        float value = pseudo_random(seed, (uint32_t)i);
        wire_raw(&data, &value, sizeof value);
    }
    wire_message(&out, 9, data);
    return out;
}

wire graph_of(int64_t channels, int64_t height, int64_t width, int64_t classes)
{
    return graph_of_batch(-1, channels, height, width, classes);
}

wire graph_of_batch(int64_t batch, int64_t channels, int64_t height, int64_t width, int64_t classes)
{
    const int64_t x[4] = {batch, channels, height, width}, y[2] = {batch, classes};
    wire network = {0};
    wire_text(&network, 2, "by hand");
    wire_message(&network, 11, value_of("x", 4, x));
    wire_message(&network, 12, value_of("y", 2, y));
    return network;
}

void put_node(wire *network, wire node)
{
    wire_message(network, 1, node);
}

void put_tensor(wire *network, wire tensor)
{
    wire_message(network, 5, tensor);
}

wire model_with_opset(wire network, int64_t opset)
{
    wire out = {0}, operators = {0};
    wire_number(&out, 1, 8);
    wire_message(&out, 7, network);
    wire_number(&operators, 2, (uint64_t)opset);
    wire_message(&out, 8, operators);
    return out;
}
