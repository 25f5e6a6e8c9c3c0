package porttest

import "hexorders/ports"

var readModelStoreChecks = []check[ReadModelStorage]{}

var readModelTables = []ports.Table{}
