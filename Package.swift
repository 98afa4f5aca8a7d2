// swift-tools-version: 6.2
// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// The runtime as ordinary Swift, for its unit tests and for editors. What programs
// link, libtld.so, is the same sources as Embedded Swift: see Makefile.
//
// With TLDCTL=1 in the environment also the tool of that name, which is the only part that
// depends on another package, on libbpf, and on what `make tldctl` generates from its BPF
// programs (see mk/tldctl.mk). What it knows, TldctlModel, needs none of that and is always there.

import PackageDescription

let package = Package(
  name: "libtld",
  targets: [
    .target(name: "CTLD", exclude: ["libtld.map"]),
    .target(name: "TLDWire"),
    .target(name: "TLD", dependencies: ["CTLD", "TLDWire"]),
    .target(name: "TldctlRecord"),
    .target(name: "TldctlModel", dependencies: ["TldctlRecord", "TLDWire"]),
    .testTarget(name: "TLDTests", dependencies: ["TLD", "TLDWire", "TldctlModel", "CTLD"]),
    .testTarget(name: "TldctlModelTests", dependencies: ["TldctlModel"]),
  ]
)

if Context.environment["TLDCTL"] == "1" {
  package.dependencies += [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0")
  ]
  package.targets += [
    .target(
      name: "TldctlKernel",
      dependencies: ["TldctlRecord"],
      exclude: ["bpf"],
      linkerSettings: [.linkedLibrary("bpf"), .linkedLibrary("elf"), .linkedLibrary("z")]),
    .executableTarget(
      name: "tldctl",
      dependencies: [
        "TldctlKernel", "TldctlModel",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ]),
  ]
}
