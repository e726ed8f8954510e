-- Prints what wrk counted, exactly, as its last line: requests, bytes, microseconds, failures.
function done(summary, latency, requests)
  local errors = summary.errors
  local failures = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format('%d %d %d %d\n', summary.requests, summary.bytes, summary.duration, failures))
end
