// swift-tools-version: 6.2
// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// The runtime as ordinary Swift, for its unit tests and for editors. What programs
// link, libtld.so, is the same sources as Embedded Swift: see Makefile.

import PackageDescription

let package = Package(
  name: "libtld",
  targets: [
    .target(name: "CTLD", exclude: ["libtld.map"]),
    .target(name: "TLD", dependencies: ["CTLD"]),
    .testTarget(name: "TLDTests", dependencies: ["TLD", "CTLD"]),
  ]
)
