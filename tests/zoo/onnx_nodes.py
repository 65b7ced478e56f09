#!/usr/bin/env python3
"""Writes the node tests of the installed onnx (PyPI) as folders, for tests/onnx/test_onnx_nodes_devices.c: opsets that Debian's
libonnx-testdata does not have yet. Run by hand:
  python3 tests/zoo/onnx_nodes.py FOLDER && SPADE_ONNX_NODES=FOLDER build/tests/onnx_test_onnx_nodes_devices
"""
import os
import sys

from onnx import TensorProto, numpy_helper
from onnx.backend.test.case.node import collect_testcases

WRITERS = {"map_type": numpy_helper.from_dict, "sequence_type": numpy_helper.from_list,
           "optional_type": numpy_helper.from_optional}


def write(path, value, information):
    kind = information.type.WhichOneof("value")
    if not isinstance(value, TensorProto):
        value = WRITERS.get(kind, numpy_helper.from_array)(value, information.name)
    with open(path, "wb") as file:
        file.write(value.SerializeToString())


def main():
    folder = sys.argv[1]
    count = 0
    for case in collect_testcases(op_type=None):
        place = os.path.join(folder, case.name)
        os.makedirs(os.path.join(place, "test_data_set_0"), exist_ok=True)
        with open(os.path.join(place, "model.onnx"), "wb") as file:
            file.write(case.model.SerializeToString())
        inputs, outputs = case.data_sets[0]
        for name, values, information in (("input", inputs, case.model.graph.input),
                                          ("output", outputs, case.model.graph.output)):
            for number, value in enumerate(values):
                write(os.path.join(place, "test_data_set_0", f"{name}_{number}.pb"), value, information[number])
        count += 1
    print(f"{count} cases in {folder}")


if __name__ == "__main__":
    main()
