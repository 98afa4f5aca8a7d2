// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// The picture's colours as colour-blind people and printers without colour see them.

import Foundation
import Testing

@testable import TldctlModel

private typealias Triple = SIMD3<Double>

/// How eyes without one kind of cones mix linear red, green and blue: Machado, Oliveira and
/// Fernandes 2009, severity 1.
private enum Eyes: CaseIterable {
  case all, protanopia, deuteranopia, tritanopia

  var rows: [Triple] {
    switch self {
    case .all: [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    case .protanopia: [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    case .deuteranopia: [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    case .tritanopia: [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    }
  }
}

private func product(_ rows: [Triple], _ color: Triple) -> Triple {
  Triple((rows[0] * color).sum(), (rows[1] * color).sum(), (rows[2] * color).sum())
}

/// "#rrggbb", without sRGB's gamma.
private func linear(_ color: String) -> Triple {
  let number = Int(color.dropFirst(), radix: 16)!
  func part(_ shift: Int) -> Double {
    let part = Double((number >> shift) & 255) / 255.0
    return part <= 0.04045 ? part / 12.92 : pow((part + 0.055) / 1.055, 2.4)
  }
  return Triple(part(16), part(8), part(0))
}

/// One of the cube roots in L*a*b*.
private func root(_ part: Double) -> Double {
  part > 216.0 / 24389.0 ? cbrt(part) : (24389.0 / 27.0 * part + 16.0) / 116.0
}

/// CIE L*a*b* for the white of D65.
private func lab(_ color: Triple) -> Triple {
  let toXYZ: [Triple] = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
  let xyz: Triple = product(toXYZ, color.clamped(lowerBound: .zero, upperBound: .one))
  let x: Double = root(xyz.x / 0.95047), y: Double = root(xyz.y), z: Double = root(xyz.z / 1.08883)
  return Triple(116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z))
}

private func isNear(_ one: Double, _ other: Double) -> Bool { abs(one - other) < 0.1 }

@Suite struct PaletteTests {
  private let fills = Palette.fills + [Palette.rest]

  @Test("The formulas: black, white, and a red that deuteranopes take for its green")
  func formulas() {
    #expect(isNear(lab(linear("#ffffff")).x, 100))
    #expect(isNear(lab(linear("#000000")).x, 0))
    let red = lab(linear("#ff0000"))
    #expect(isNear(red.x, 53.24))
    #expect(isNear(red.y, 80.09))
    #expect(isNear(red.z, 67.20))
    #expect(distance("#cc0000", "#7f6d00", .deuteranopia) < distance("#cc0000", "#7f6d00", .all) / 3)
  }

  private func distance(_ one: String, _ other: String, _ eyes: Eyes) -> Double {
    let difference = lab(product(eyes.rows, linear(one))) - lab(product(eyes.rows, linear(other)))
    return (difference * difference).sum().squareRoot()
  }

  @Test("Any two fills are 15 apart (CIE76) for all eyes; from 2 on one sees a difference", arguments: Eyes.allCases)
  private func colours(eyes: Eyes) {
    for (index, fill) in fills.enumerated() {
      for other in fills[..<index] {
        let found = distance(fill.color, other.color, eyes)
        #expect(found >= 15, "\(fill.color) \(other.color)")
      }
    }
  }

  @Test("Without colour neighbours are 8 apart in lightness, and all have patterns of their own")
  func grey() {
    for (fill, next) in zip(fills, fills.dropFirst()) {
      let one = lab(linear(fill.color)).x, other = lab(linear(next.color)).x
      #expect(abs(one - other) >= 8, "\(fill.color) \(next.color)")
    }
    #expect(Set(fills.map(\.pattern)).count == fills.count)
  }
}
