// How many rows a sequence may hold within a number of bytes.
#pragma once

#include <memory>

#include "engine/kv_plan.h"
#include "engine/model_config.h"

namespace kv {

// Rows of each KV head that the cuts of a plan with budget_bytes leave, stored by `codec`: so many that
// whole pages, position lists and what later cuts look at stay within the budget also just before a
// cut, when as many more rows are there as the plan's longest `every` lets come. Throws Error(kUsage)
// where not one row would be left, with the bytes that are needed.
int rows_in_budget(const CompressionPlan& plan, const ModelConfig& config, const KvCodec& codec);

// `cut` of a plan with its number of rows filled in where the budget decides; null stays null.
std::shared_ptr<const RepeatedCut> within_budget(const std::shared_ptr<const RepeatedCut>& cut,
                                                 const CompressionPlan& plan,
                                                 const ModelConfig& config, const KvCodec& codec);

}  // namespace kv
