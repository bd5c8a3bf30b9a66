// Package setting is about the settings of a configuration, of whatever package: how
// defaults are filled in, and how mistakes are found and told, all of them at once.
//
//	func (c Config) Validate() error {
//		var check setting.Check
//		check.Required("Host", c.Host != nil)
//		setting.AtLeast(&check, "Timeout", c.Timeout, 0)
//		return check.Err()
//	}
package setting
