/* dnn_descriptor.c - stand-in for cuDNN's descriptors: their attributes, checked by a table, and their lives. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "dnn_standin.h"

static descriptor *living; /* a test is one process with one thread that calls cuDNN */

/* ---- attributes that can be set */

typedef struct attribute {
    cudnnBackendDescriptorType_t owner;
    cudnnBackendAttributeName_t name;
    cudnnBackendAttributeType_t type;
    int64_t least, most; /* elements */
    size_t offset;
    size_t count_offset; /* where their number is kept, 0: nowhere */
    bool optional;
    unsigned parts; /* BACKEND_DESCRIPTOR: bits of the descriptor types that it may hold */
} attribute;

#define AT(member) offsetof(descriptor, of.member)
#define PART(type) (1u << CUDNN_BACKEND_##type##_DESCRIPTOR)
#define OWNER(type) CUDNN_BACKEND_##type##_DESCRIPTOR
#define TENSOR(owner, name, member)                                                                                    \
    {                                                                                                                  \
        OWNER(owner), CUDNN_ATTR_##name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, 1, AT(operation.member), 0, false,          \
            PART(TENSOR)                                                                                               \
    }
static const attribute attributes[] = {
    {OWNER(TENSOR), CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, 1, AT(tensor.type), 0, false, 0},
    {OWNER(TENSOR), CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, 4, AT(tensor.dims), 0, false, 0},
    {OWNER(TENSOR), CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, 4, AT(tensor.strides), 0, false, 0},
    {OWNER(TENSOR), CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, 1, AT(tensor.name), 0, false, 0},
    {OWNER(TENSOR), CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, 1, AT(tensor.alignment), 0, false, 0},
    {OWNER(TENSOR), CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, 1, AT(tensor.is_virtual), 0, true, 0},
    {OWNER(CONVOLUTION), CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, 1, 1, AT(window.axes), 0, false, 0},
    {OWNER(CONVOLUTION), CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, 1, AT(window.sums), 0, false, 0},
    {OWNER(CONVOLUTION), CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, 1, AT(window.mode), 0, false,
     0},
    {OWNER(CONVOLUTION), CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 2, 2, AT(window.before), 0, false, 0},
    {OWNER(CONVOLUTION), CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 2, 2, AT(window.after), 0, false, 0},
    {OWNER(CONVOLUTION), CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 2, 2, AT(window.dilation), 0, false, 0},
    {OWNER(CONVOLUTION), CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 2, 2, AT(window.stride), 0, false, 0},
    {OWNER(POINTWISE), CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, 1, AT(pointwise.mode), 0, false, 0},
    {OWNER(POINTWISE), CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1, 1, AT(pointwise.precision), 0, false,
     0},
    TENSOR(OPERATION_CONVOLUTION_FORWARD, OPERATION_CONVOLUTION_FORWARD_X, in),
    TENSOR(OPERATION_CONVOLUTION_FORWARD, OPERATION_CONVOLUTION_FORWARD_W, weights),
    TENSOR(OPERATION_CONVOLUTION_FORWARD, OPERATION_CONVOLUTION_FORWARD_Y, out),
    {OWNER(OPERATION_CONVOLUTION_FORWARD), CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
     CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, 1, AT(operation.rule), 0, false, PART(CONVOLUTION)},
    {OWNER(OPERATION_CONVOLUTION_FORWARD), CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, CUDNN_TYPE_FLOAT, 1, 1,
     AT(operation.alpha), 0, false, 0},
    {OWNER(OPERATION_CONVOLUTION_FORWARD), CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, CUDNN_TYPE_FLOAT, 1, 1,
     AT(operation.beta), 0, false, 0},
    TENSOR(OPERATION_CONVOLUTION_BACKWARD_DATA, OPERATION_CONVOLUTION_BWD_DATA_DY, in),
    TENSOR(OPERATION_CONVOLUTION_BACKWARD_DATA, OPERATION_CONVOLUTION_BWD_DATA_W, weights),
    TENSOR(OPERATION_CONVOLUTION_BACKWARD_DATA, OPERATION_CONVOLUTION_BWD_DATA_DX, out),
    {OWNER(OPERATION_CONVOLUTION_BACKWARD_DATA), CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
     CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, 1, AT(operation.rule), 0, false, PART(CONVOLUTION)},
    {OWNER(OPERATION_CONVOLUTION_BACKWARD_DATA), CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA, CUDNN_TYPE_FLOAT, 1,
     1, AT(operation.alpha), 0, false, 0},
    {OWNER(OPERATION_CONVOLUTION_BACKWARD_DATA), CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA, CUDNN_TYPE_FLOAT, 1, 1,
     AT(operation.beta), 0, false, 0},
    TENSOR(OPERATION_POINTWISE, OPERATION_POINTWISE_XDESC, in),
    TENSOR(OPERATION_POINTWISE, OPERATION_POINTWISE_YDESC, out),
    {OWNER(OPERATION_POINTWISE), CUDNN_ATTR_OPERATION_POINTWISE_BDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, 1,
     AT(operation.second), 0, true, PART(TENSOR)},
    {OWNER(OPERATION_POINTWISE), CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, 1,
     AT(operation.rule), 0, false, PART(POINTWISE)},
    {OWNER(OPERATIONGRAPH), CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, 1, AT(graph.handle), 0, false, 0},
    {OWNER(OPERATIONGRAPH), CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, DNN_MOST_OPERATIONS,
     AT(graph.operations), AT(graph.count), false,
     PART(OPERATION_CONVOLUTION_FORWARD) | PART(OPERATION_CONVOLUTION_BACKWARD_DATA) | PART(OPERATION_POINTWISE)},
    {OWNER(ENGINEHEUR), CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, 1, AT(heuristic.graph),
     0, false, PART(OPERATIONGRAPH)},
    {OWNER(ENGINEHEUR), CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, 1, AT(heuristic.mode), 0, false, 0},
    {OWNER(ENGINE), CUDNN_ATTR_ENGINE_OPERATION_GRAPH, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, 1, AT(engine.graph), 0, false,
     PART(OPERATIONGRAPH)},
    {OWNER(ENGINE), CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, 1, 1, AT(engine.number), 0, false, 0},
    {OWNER(ENGINECFG), CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, 1, AT(config.engine), 0, false,
     PART(ENGINE)},
    {OWNER(EXECUTION_PLAN), CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, 1, AT(plan.handle), 0, false, 0},
    {OWNER(EXECUTION_PLAN), CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, 1,
     AT(plan.config), 0, false, PART(ENGINECFG)},
    {OWNER(VARIANT_PACK), CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, 1, DNN_MOST_TENSORS,
     AT(pack.pointers), AT(pack.pointer_count), false, 0},
    {OWNER(VARIANT_PACK), CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, 1, DNN_MOST_TENSORS, AT(pack.names),
     AT(pack.name_count), false, 0},
    {OWNER(VARIANT_PACK), CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, 1, AT(pack.workspace), 0, false,
     0},
};
enum { ATTRIBUTES = sizeof attributes / sizeof *attributes };

static size_t element_bytes(cudnnBackendAttributeType_t type)
{
    switch (type) {
    case CUDNN_TYPE_BOOLEAN: return sizeof(bool);
    case CUDNN_TYPE_INT64: return sizeof(int64_t);
    case CUDNN_TYPE_FLOAT: return sizeof(float);
    case CUDNN_TYPE_HANDLE:
    case CUDNN_TYPE_VOID_PTR:
    case CUDNN_TYPE_BACKEND_DESCRIPTOR: return sizeof(void *);
    default: return sizeof(int); /* enumerations */
    }
}

/* ---- lives */

descriptor *dnn_check(const void *handle, cudnnBackendDescriptorType_t type, const char *call)
{
    for (descriptor *d = living; d; d = d->next) {
        if (d != handle) { continue; }
        standin_require(!d->destroyed, call, "a descriptor that was not destroyed");
        standin_require(d->type == type, call, "a descriptor of the right type");
        return d;
    }
    standin_require(false, call, "a descriptor");
    return NULL;
}

/* Of any type. */
static descriptor *check_any(const void *handle, const char *call)
{
    for (descriptor *d = living; d; d = d->next) {
        if (d == handle) { return dnn_check(handle, d->type, call); }
    }
    return dnn_check(handle, CUDNN_BACKEND_TENSOR_DESCRIPTOR, call);
}

int dnn_living(void)
{
    int count = 0;
    for (const descriptor *d = living; d; d = d->next) { count += !d->destroyed; }
    return count;
}

static void let_go(descriptor *d)
{
    if (--d->holders) { return; }
    for (int i = 0; i < ATTRIBUTES; i++) { /* its parts */
        const attribute *a = &attributes[i];
        if (a->owner != d->type || a->type != CUDNN_TYPE_BACKEND_DESCRIPTOR) { continue; }
        descriptor **slots = (descriptor **)((char *)d + a->offset);
        for (int64_t k = 0; k < a->most; k++) { dnn_hold(&slots[k], NULL); }
    }
    descriptor **at = &living;
    while (*at != d) { at = &(*at)->next; }
    *at = d->next;
    free(d);
}

void dnn_hold(descriptor **slot, descriptor *held)
{
    if (held) { held->holders++; }
    if (*slot) { let_go(*slot); }
    *slot = held;
}

cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t *out)
{
    bool known = false;
    for (int i = 0; i < ATTRIBUTES; i++) { known = known || attributes[i].owner == type; }
    standin_require(known && out, "cudnnBackendCreateDescriptor", "a known type of descriptor");
    descriptor *d = calloc(1, sizeof *d);
    if (!d) { return CUDNN_STATUS_INTERNAL_ERROR; }
    d->type = type;
    d->holders = 1;
    d->next = living;
    living = d;
    *out = d;
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t handle)
{
    descriptor *d = check_any(handle, "cudnnBackendDestroyDescriptor");
    d->destroyed = true;
    let_go(d);
    return CUDNN_STATUS_SUCCESS;
}

/* ---- setting */

static void set_parts(descriptor *d, const attribute *a, int64_t count, const void *elements)
{
    static const char call[] = "cudnnBackendSetAttribute";
    descriptor **slots = (descriptor **)((char *)d + a->offset);
    for (int64_t i = 0; i < count; i++) {
        descriptor *part = check_any(((void *const *)elements)[i], call);
        standin_require(a->parts >> part->type & 1, call, "a part of a type that the attribute takes");
        standin_require(part->finalized, call, "a finalized part");
        dnn_hold(&slots[i], part);
    }
}

cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t handle, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t count, const void *elements)
{
    static const char call[] = "cudnnBackendSetAttribute";
    descriptor *d = check_any(handle, call);
    unsigned place = 0;
    standin_require(!d->finalized, call, "a descriptor that is not finalized yet");
    for (int i = 0; i < ATTRIBUTES; i++) {
        const attribute *a = &attributes[i];
        if (a->owner != d->type) { continue; }
        if (a->name != name) {
            place++;
            continue;
        }
        standin_require(a->type == type, call, "the attribute's type of elements");
        standin_require(count >= a->least && count <= a->most && elements, call, "the attribute's number of elements");
        if (type == CUDNN_TYPE_BACKEND_DESCRIPTOR) {
            set_parts(d, a, count, elements);
        } else {
            memcpy((char *)d + a->offset, elements, (size_t)count * element_bytes(type));
        }
        if (a->count_offset) { memcpy((char *)d + a->count_offset, &count, sizeof count); }
        d->set |= 1u << place;
        return CUDNN_STATUS_SUCCESS;
    }
    standin_require(false, call, "an attribute of this descriptor that can be set");
    return CUDNN_STATUS_BAD_PARAM;
}

/* ---- finalizing */

cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t handle)
{
    static const char call[] = "cudnnBackendFinalize";
    descriptor *d = check_any(handle, call);
    unsigned place = 0;
    standin_require(!d->finalized, call, "a descriptor that is not finalized yet");
    for (int i = 0; i < ATTRIBUTES; i++) {
        const attribute *a = &attributes[i];
        if (a->owner != d->type) { continue; }
        standin_require(a->optional || d->set >> place & 1, call, "every attribute that is needed");
        place++;
    }
    dnn_check_parts(d);
    cudnnStatus_t result = CUDNN_STATUS_SUCCESS;
    if (d->type == CUDNN_BACKEND_ENGINE_DESCRIPTOR) {
        result = dnn_engine_supports(d->of.engine.number, d->of.engine.graph);
    } else if (d->type == CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR && standin_fails("engine")) {
        result = CUDNN_STATUS_NOT_SUPPORTED;
    } else if (d->type == CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR && standin_fails("graph")) {
        result = CUDNN_STATUS_NOT_SUPPORTED;
    }
    d->finalized = result == CUDNN_STATUS_SUCCESS;
    return result;
}

/* ---- getting */

/* A configuration with the engine of this number, in a descriptor that the caller made. */
static void fill_config(descriptor *config, descriptor *graph, int64_t number)
{
    cudnnBackendDescriptor_t handle = NULL;
    standin_require(!config->finalized, "cudnnBackendGetAttribute", "fresh descriptors to fill");
    cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINE_DESCRIPTOR, &handle);
    descriptor *engine = handle;
    dnn_hold(&engine->of.engine.graph, graph);
    engine->of.engine.number = number;
    engine->finalized = true;
    dnn_hold(&config->of.config.engine, engine);
    config->finalized = true;
    cudnnBackendDestroyDescriptor(handle); /* the configuration's alone */
}

static int64_t get_results(const descriptor *d, int64_t requested, void *elements)
{
    int64_t numbers[DNN_ENGINES];
    int64_t count = dnn_engine_list(d->of.heuristic.mode, d->of.heuristic.graph, numbers);
    for (int64_t i = 0; elements && i < count && i < requested; i++) {
        fill_config(dnn_check(((void **)elements)[i], CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, "cudnnBackendGetAttribute"),
                    d->of.heuristic.graph, numbers[i]);
    }
    return requested && count > requested ? requested : count;
}

static int64_t get_engine(const descriptor *config, int64_t requested, void *elements)
{
    static const char call[] = "cudnnBackendGetAttribute";
    const descriptor *engine = config->of.config.engine;
    standin_require(requested == 1, call, "one descriptor");
    descriptor *to = dnn_check(*(void **)elements, CUDNN_BACKEND_ENGINE_DESCRIPTOR, call);
    dnn_hold(&to->of.engine.graph, engine->of.engine.graph);
    to->of.engine.number = engine->of.engine.number;
    to->finalized = true;
    return 1;
}

static int64_t get_notes(const descriptor *engine, int64_t requested, cudnnBackendNumericalNote_t *to)
{
    cudnnBackendNumericalNote_t notes[CUDNN_NUMERICAL_NOTE_TYPE_COUNT];
    int count = dnn_engine_notes(engine->of.engine.number, notes);
    for (int i = 0; i < count && i < requested; i++) { to[i] = notes[i]; }
    return count;
}

cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t const handle, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t requested, int64_t *count,
                                       void *elements)
{
    static const char call[] = "cudnnBackendGetAttribute";
    const descriptor *d = check_any(handle, call);
    standin_require(d->finalized, call, "a finalized descriptor");
    standin_require(count && (elements || !requested), call, "room for the elements and their number");
    if (d->type == OWNER(ENGINEHEUR) && name == CUDNN_ATTR_ENGINEHEUR_RESULTS) {
        standin_require(type == CUDNN_TYPE_BACKEND_DESCRIPTOR, call, "the attribute's type of elements");
        *count = get_results(d, requested, elements);
    } else if (d->type == OWNER(ENGINECFG) && name == CUDNN_ATTR_ENGINECFG_ENGINE) {
        standin_require(type == CUDNN_TYPE_BACKEND_DESCRIPTOR, call, "the attribute's type of elements");
        *count = get_engine(d, requested, elements);
    } else if (d->type == OWNER(ENGINE) && name == CUDNN_ATTR_ENGINE_NUMERICAL_NOTE) {
        standin_require(type == CUDNN_TYPE_NUMERICAL_NOTE, call, "the attribute's type of elements");
        *count = get_notes(d, requested, elements);
    } else { /* one whole number */
        bool index = d->type == OWNER(ENGINE) && name == CUDNN_ATTR_ENGINE_GLOBAL_INDEX;
        bool engines = d->type == OWNER(OPERATIONGRAPH) && name == CUDNN_ATTR_OPERATIONGRAPH_ENGINE_GLOBAL_COUNT;
        bool workspace = d->type == OWNER(EXECUTION_PLAN) && name == CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE;
        standin_require(index || engines || workspace, call, "an attribute of this descriptor that can be read");
        standin_require(type == CUDNN_TYPE_INT64 && requested == 1, call, "one whole number");
        const descriptor *engine = workspace ? d->of.plan.config->of.config.engine : NULL;
        *(int64_t *)elements = index     ? d->of.engine.number
                               : engines ? DNN_ENGINES
                                         : dnn_engine_workspace(engine->of.engine.number, engine->of.engine.graph);
        *count = 1;
    }
    return CUDNN_STATUS_SUCCESS;
}
