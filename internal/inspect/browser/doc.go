// Package browser tests the page of package inspect in a real browser, over real
// services. It needs Chromium and runs only when asked for:
//
//	NEBNET_BROWSER=1 go test -count=1 ./internal/inspect/browser
//
// Pictures of the page go to the folder screenshots here, which git ignores.
package browser
