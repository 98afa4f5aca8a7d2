// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
import Testing

@testable import TLD

@Test("sizes round up to 8 bytes and to powers of two")
func rounding() {
  #expect([0, 1, 7, 8, 9, 4081].map(\.roundedUpTo8) == [0, 8, 8, 8, 16, 4088])
  #expect([1, 2, 3, 64, 65, 4096].map(\.roundedUpToPowerOfTwo) == [1, 2, 4, 64, 128, 4096])
}
