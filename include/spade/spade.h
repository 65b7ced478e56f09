/*
 * spade/spade.h - everything, in the order of the data flow:
 *
 *   picture -> augment -> forward with taps -> Hessian -> solve -> trace -> interpret -> metric
 */
#ifndef SPADE_SPADE_H
#define SPADE_SPADE_H

#include "spade/array.h"
#include "spade/augment.h"
#include "spade/context.h"
#include "spade/hessian.h"
#include "spade/attribution.h"
#include "spade/metric.h"
#include "spade/model.h"
#include "spade/option.h"
#include "spade/picture.h"
#include "spade/solve.h"
#include "spade/status.h"
#include "spade/trace.h"

#endif
