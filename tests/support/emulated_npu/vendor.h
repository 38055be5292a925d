#pragma once

namespace emulated_npu {

// Registers stand-ins of torch_npu's fused operators under its namespace, names and schemas, or takes them away. They
// compute with compositions, refuse what the vendor's documentation says is refused, and count like all operators.
// Those that have a gradient there have one here.
// Source: github.com/Ascend/op-plugin, branch 26.1.0 (commit 09024aa), op_plugin/config/op_plugin_functions.yaml and
// docs/en/custom_APIs/torch_npu.
void offer_vendor_operators(bool offer);

}  // namespace emulated_npu
