// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// A recording as a picture: the processors over time, coloured by value, and per value bars of
// on-CPU time and wake-up latency.

public struct RecordingPicture {
  private let recording: Recording
  private let summary: OnCPU
  private let naming: ValueNames
  private var drawing: Drawing
  /// Where the next part begins.
  private var top = 0.0
  /// A value's fill; those without share the last one.
  private var slots: [Int: Int] = [:]

  private static let width = 1000.0, margin = 24.0
  private static let plotLeft = 90.0, plotRight = 976.0
  private static let mostProcessors = 64

  public static func draw(_ recording: Recording, _ summary: OnCPU, _ naming: ValueNames) -> Drawing {
    var picture = RecordingPicture(recording, summary, naming)
    picture.drawHead()
    picture.drawProcessors()
    picture.drawBars()
    picture.drawNotes()
    picture.drawing.height = picture.top + margin
    return picture.drawing
  }

  private init(_ recording: Recording, _ summary: OnCPU, _ naming: ValueNames) {
    self.recording = recording
    self.summary = summary
    self.naming = naming
    let name = escaped(recording.header.name)
    drawing = Drawing(
      width: Self.width, title: "On-CPU time per value of \(name)",
      description: summary.values.prefix(Palette.fills.count).map {
        "\(naming.text($0.value)): \(duration($0.use.ran)) (\(share($0.use.ran, of: summary.all.ran)))"
      }.joined(separator: "; "))
    Palette.define(in: &drawing)
    for (rank, use) in summary.values.prefix(Palette.fills.count).enumerated() { slots[use.value] = rank }
  }

  // MARK: - Head

  private mutating func drawHead() {
    top = Self.margin + 20
    let title = cut("On-CPU time per value of \(escaped(recording.header.name))", to: 72)
    drawing.add(DrawnText(title, x: Self.margin, y: top, size: 20, isBold: true))
    top += 24
    for (line, isBold) in RecordingText.head(recording, summary) {
      for part in wrapped(line, to: 124) {
        drawing.add(DrawnText(part, x: Self.margin, y: top, isBold: isBold))
        top += 18
      }
    }
    top += 6
  }

  private mutating func heading(_ text: String, x: Double) {
    drawing.add(DrawnText(text, x: x, y: top + 14, size: 14, isBold: true))
  }

  // MARK: - Processors

  private mutating func drawProcessors() {
    let cpus = shownProcessors
    heading("Processors over time", x: Self.margin)
    top += 26
    let height = cpus.count <= 16 ? 30.0 : 16.0
    drawTicks(height: Double(cpus.count) * (height + 4))
    for (row, cpu) in cpus.enumerated() {
      draw(cpu, at: top + Double(row) * (height + 4), height: height)
    }
    top += Double(cpus.count) * (height + 4)
    drawTimes()
    top += 34
  }

  /// Of very many processors those that were used.
  private var shownProcessors: [Int] {
    let all = recording.header.cpus
    guard all.count > Self.mostProcessors else { return all }
    let used = Set(recording.stretches.map(\.cpu))
    return Array(all.filter { used.contains($0) }.prefix(Self.mostProcessors))
  }

  private mutating func draw(_ cpu: Int, at y: Double, height: Double) {
    let width = Self.plotRight - Self.plotLeft
    var timeline = Timeline(duration: recording.end.duration, columns: Int(width), slots: Palette.slots)
    for stretch in recording.stretches where stretch.cpu == cpu {
      guard let value = stretch.value else { continue }
      timeline.add(from: stretch.begin, to: stretch.end, slot: slots[value] ?? Palette.fills.count)
    }
    drawing.add(DrawnText("CPU \(cpu)", x: Self.plotLeft - 8, y: y + height / 2 + 4, anchor: .end))
    drawing.rectangle(x: Self.plotLeft, y: y, width: width, height: height, fill: "#f2f2f2")
    let runs = timeline.runs
    for slot in 0..<Palette.slots {
      drawing.path(commands(runs, slot, y: y, height: height), fill: Palette.fill(slot))
    }
    for run in runs { label(run, cpu, y: y, height: height) }
  }

  /// The rectangles of one fill: columns are filled from below.
  private func commands(_ runs: [TimelineRun], _ slot: Int, y: Double, height: Double) -> String {
    var text = ""
    for run in runs where run.column.parts[slot] > 0 {
      let below = run.column.parts[..<slot].reduce(0.0) { $0 + Double($1) }
      let part = Double(run.column.parts[slot])
      let top = y + height * (1 - (below + part) / 100)
      text += "M\(number(Self.plotLeft + Double(run.first))) \(number(top))h\(run.count)v\(number(height * part / 100))h-\(run.count)z"
    }
    return text
  }

  /// The value's name where there is space for it.
  private mutating func label(_ run: TimelineRun, _ cpu: Int, y: Double, height: Double) {
    guard let slot = run.only, slot < Palette.fills.count, height >= 16, slot < summary.values.count else { return }
    let text = naming.text(summary.values[slot].value), width = DrawnText.width(text, size: 11)
    guard Double(run.count) > width + 14 else { return }
    let middle = Self.plotLeft + Double(run.first) + Double(run.count) / 2
    drawing.rectangle(x: middle - width / 2 - 3, y: y + height / 2 - 7, width: width + 6, height: 14, fill: "#ffffff")
    drawing.add(DrawnText(text, x: middle, y: y + height / 2 + 4, size: 11, anchor: .middle))
  }

  /// Round times, and where they are.
  private var ticks: [(time: UInt64, x: Double)] {
    let step = niceStep(recording.end.duration, most: 8), width = Self.plotRight - Self.plotLeft
    return (0...recording.end.duration / step).map { index in
      (index * step, Self.plotLeft + width * Double(index * step) / Double(max(recording.end.duration, 1)))
    }
  }

  /// Behind the rows: between them, and below.
  private mutating func drawTicks(height: Double) {
    for tick in ticks { drawing.line(x1: tick.x, y1: top - 4, x2: tick.x, y2: top + height + 4, stroke: "#888888") }
  }

  private mutating func drawTimes() {
    // At the end there may be no space for the words.
    for tick in ticks where tick.x + DrawnText.width("999 ms", size: 11) / 2 <= Self.width - 2 {
      drawing.add(DrawnText(axisText(tick.time), x: tick.x, y: top + 18, size: 11, anchor: .middle))
    }
  }

  // MARK: - Bars

  private static let rowHeight = 34.0
  private static let labelLeft = 46.0, barLeft = 190.0, barWidth = 170.0, timeLeft = 368.0
  private static let waitLeft = 540.0, waitWidth = 260.0, waitText = 808.0

  private mutating func drawBars() {
    let rows = self.rows
    guard !rows.isEmpty else { return }
    heading("On-CPU time", x: Self.margin)
    heading("Wake-up latency", x: Self.waitLeft)
    top += 28
    let most = rows.map(\.use.ran).max() ?? 0
    let longest = rows.compactMap { $0.use.latencies.percentile(99) }.max() ?? 0
    for row in rows {
      draw(row, most: most, longest: longest)
      top += Self.rowHeight
    }
    top += 8
  }

  private struct Row {
    let slot: Int
    let label: String
    let use: Use
  }

  /// The first values, and the others together.
  private var rows: [Row] {
    let shown = summary.values.prefix(Palette.fills.count)
    var rows = shown.enumerated().map { Row(slot: $0, label: naming.text($1.value), use: $1.use) }
    if let rest = summary.rest(after: shown.count) {
      rows.append(Row(slot: Palette.fills.count, label: summary.others(after: shown.count), use: rest))
    }
    return rows
  }

  private mutating func draw(_ row: Row, most: UInt64, longest: UInt64) {
    drawing.rectangle(x: Self.margin, y: top + 4, width: 16, height: 16, fill: Palette.fill(row.slot), stroke: "#111111")
    drawing.add(DrawnText(cut(row.label, to: 18), x: Self.labelLeft, y: top + 17))
    drawing.rectangle(
      x: Self.barLeft, y: top + 2, width: Self.barWidth * part(row.use.ran, of: most), height: 20,
      fill: Palette.fill(row.slot), stroke: "#111111")
    drawing.add(DrawnText("\(duration(row.use.ran))  \(share(row.use.ran, of: summary.all.ran))", x: Self.timeLeft, y: top + 17))
    guard let middle = row.use.latencies.percentile(50), let high = row.use.latencies.percentile(99) else {
      drawing.add(DrawnText("never woken", x: Self.waitLeft, y: top + 17))
      return
    }
    for (index, (name, time)) in [("p50", middle), ("p99", high)].enumerated() {
      let y = top + 14 * Double(index)
      drawing.rectangle(
        x: Self.waitLeft, y: y, width: Self.waitWidth * part(time, of: longest), height: 10,
        fill: index == 0 ? "#111111" : Palette.fill(row.slot), stroke: "#111111")
      drawing.add(DrawnText("\(name) \(duration(time))", x: Self.waitText, y: y + 9, size: 11))
    }
  }

  private func part(_ number: UInt64, of whole: UInt64) -> Double {
    whole == 0 ? 0 : Double(number) / Double(whole)
  }

  // MARK: - Notes

  private mutating func drawNotes() {
    top += 4
    var notes = RecordingText.notes(recording, summary)
    let hidden = recording.header.cpus.count - shownProcessors.count
    if hidden > 0 { notes.append("\(count(hidden, "processor")) are not shown.") }
    for note in notes {
      for line in wrapped(note, to: 136) {
        drawing.add(DrawnText(line, x: Self.margin, y: top + 10, size: 11))
        top += 16
      }
    }
  }
}

/// A step of 1, 2 or 5 times a power of ten, of which so many fit at most.
func niceStep(_ whole: UInt64, most: UInt64) -> UInt64 {
  var power: UInt64 = 1
  while true {
    for factor in [1, 2, 5] as [UInt64] {
      let (step, overflow) = power.multipliedReportingOverflow(by: factor)
      if overflow { return .max }
      if whole / step <= most { return step }
    }
    let (next, overflow) = power.multipliedReportingOverflow(by: 10)
    if overflow { return .max }
    power = next
  }
}

/// A tick's time, without digits that say nothing.
private func axisText(_ time: UInt64) -> String {
  guard time > 0 else { return "0" }
  let units: [(String, UInt64)] = [("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1000)]
  for (name, unit) in units where time >= unit {
    let text = number(Double(time) / Double(unit))
    return "\(text) \(name)"
  }
  return "\(time) ns"
}

/// Lines of no more than so many columns, broken between words.
func wrapped(_ text: String, to limit: Int) -> [String] {
  var lines: [String] = [], line = ""
  for word in text.split(separator: " ") {
    if !line.isEmpty, width(line) + 1 + width(String(word)) > limit {
      lines.append(line)
      line = ""
    }
    line += (line.isEmpty ? "" : " ") + cut(String(word), to: limit)
  }
  return line.isEmpty ? lines : lines + [line]
}
