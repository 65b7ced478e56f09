/* stages.c - which layers are a stage: those whose names begin alike, up to the number of their block. */
#include <ctype.h>

#include "trace/trace.h"

static bool has_number(const char *part, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (isdigit((unsigned char)part[i])) { return true; }
    }
    return false;
}

/* A list of blocks: of its number, not of itself, is a stage ("stages.3.blocks.2"). */
static bool is_list(const char *part, size_t length)
{
    static const char *const lists[] = {"blocks", "layers", "layer", "units", "stages"};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        if (strlen(lists[i]) == length && strncmp(lists[i], part, length) == 0) { return true; }
    }
    return false;
}

/* A part of a block that is numbered, too ("Mixed_7c.branch3x3_1"). */
static bool is_branch(const char *part)
{
    return strncmp(part, "branch", strlen("branch")) == 0;
}

size_t spade_stage_name_length(const char *layer)
{
    size_t end = 0; /* of the last number of a block so far */
    for (const char *part = layer; strchr(part, '.');
         part = strchr(part, '.') + 1) { /* not the last: the layer's own */
        const size_t length = strcspn(part, ".");
        if (has_number(part, length) && !is_branch(part)) {
            end = (size_t)(part - layer) + length;
        } else if (end && !is_list(part, length)) {
            break;
        }
    }
    return end ? end : strlen(layer);
}

int spade_model_stages(const spade_model *model, int *stages)
{
    const spade_network *network = &model->network;
    int count = 0;
    for (int l = 0; l < network->layer_count; l++) {
        const char *name = network->layers[l].name;
        const size_t length = spade_stage_name_length(name);
        stages[l] = -1;
        if (!network->layers[l].prunable) { continue; }
        for (int before = 0; before < l && stages[l] < 0; before++) {
            const char *other = network->layers[before].name;
            if (stages[before] >= 0 && spade_stage_name_length(other) == length && strncmp(other, name, length) == 0) {
                stages[l] = stages[before];
            }
        }
        if (stages[l] < 0) { stages[l] = count++; }
    }
    return count;
}
