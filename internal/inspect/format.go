package inspect

import (
	"fmt"
	"html/template"
	"strconv"
	"strings"
	"time"
)

// functions are what templates call.
var functions = template.FuncMap{
	"bytes":     func(n any) string { return bytesText(number(n)) },
	"rate":      rateText,
	"perSec":    func(v float64) string { return fmt.Sprintf("%.1f /s", v) },
	"count":     func(n any) string { return countText(number(n)) },
	"secs":      secondsText,
	"ms":        millisText,
	"short":     short,
	"clock":     func(t time.Time) string { return t.UTC().Format("15:04:05") },
	"millis":    func(t time.Time) string { return t.UTC().Format("15:04:05.000") },
	"last":      func(s []TraceStep) int { return len(s) - 1 },
	"histogram": drawHistogram,
	"stamp":     func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
	"term":      term,
	"named":     named,
	"list":      listText,
	"inward":    inward,
	"outward":   outward,
	"since":     func(now, t time.Time) string { return secondsText(now.Sub(t).Seconds()) },
	"num":       numText,
	"total":     sum,
}

func rateText(v float64) string   { return bytesText(uint64(max(v, 0))) + "/s" }
func millisText(v float64) string { return fmt.Sprintf("%.1f ms", v*1000) }
func listText(s []string) string  { return strings.Join(s, ", ") }
func numText(v float64) string    { return strconv.FormatFloat(v, 'f', 2, 64) }

// number is a count of either kind that snapshots have.
func number(n any) uint64 {
	switch n := n.(type) {
	case uint64:
		return n
	case int:
		return uint64(max(n, 0))
	}
	return 0
}

// bytesText is a size in binary units.
func bytesText(n uint64) string {
	const units = "KMGTPE"
	v := float64(n)
	if v < 1024 {
		return fmt.Sprintf("%.0f B", v)
	}
	i := -1
	for v >= 1024 && i < len(units)-1 {
		v /= 1024
		i++
	}
	return fmt.Sprintf("%.1f %ciB", v, units[i])
}

// countText is a number with its thousands apart.
func countText(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// secondsText is a duration as a person says it.
func secondsText(v float64) string {
	switch {
	case v < 1:
		return fmt.Sprintf("%.0f ms", v*1000)
	case v < 120:
		return fmt.Sprintf("%.0f s", v)
	case v < 2*3600:
		return fmt.Sprintf("%.0f min", v/60)
	case v < 48*3600:
		return fmt.Sprintf("%.0f h", v/3600)
	}
	return fmt.Sprintf("%.0f days", v/86400)
}
