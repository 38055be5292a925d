#pragma once

#include <libpq-fe.h>

#include "core/shared_library.h"

namespace glmimage::serve {

// libpq's functions that this program calls, under their names without "PQ". Its header's types, its library only for
// queues on PostgreSQL.
struct LibPq {
  SharedLibrary library{"libpq.so.5", "libpq5"};
  decltype(&::PQconnectdbParams) connectdbParams = library["PQconnectdbParams"];
  decltype(&::PQfinish) finish = library["PQfinish"];
  decltype(&::PQstatus) status = library["PQstatus"];
  decltype(&::PQerrorMessage) errorMessage = library["PQerrorMessage"];
  decltype(&::PQsetNoticeProcessor) setNoticeProcessor = library["PQsetNoticeProcessor"];
  decltype(&::PQhost) host = library["PQhost"];
  decltype(&::PQport) port = library["PQport"];
  decltype(&::PQdb) db = library["PQdb"];
  decltype(&::PQsocket) socket = library["PQsocket"];
  decltype(&::PQtransactionStatus) transactionStatus = library["PQtransactionStatus"];
  decltype(&::PQexec) exec = library["PQexec"];
  decltype(&::PQexecParams) execParams = library["PQexecParams"];
  decltype(&::PQresultStatus) resultStatus = library["PQresultStatus"];
  decltype(&::PQresultErrorField) resultErrorField = library["PQresultErrorField"];
  decltype(&::PQntuples) ntuples = library["PQntuples"];
  decltype(&::PQnfields) nfields = library["PQnfields"];
  decltype(&::PQgetisnull) getisnull = library["PQgetisnull"];
  decltype(&::PQgetvalue) getvalue = library["PQgetvalue"];
  decltype(&::PQgetlength) getlength = library["PQgetlength"];
  decltype(&::PQclear) clear = library["PQclear"];
  decltype(&::PQconsumeInput) consumeInput = library["PQconsumeInput"];
  decltype(&::PQnotifies) notifies = library["PQnotifies"];
  decltype(&::PQfreemem) freemem = library["PQfreemem"];
};

// Opened at the first call. Throws ErrorKind::io when the library is not there.
const LibPq& libpq();

struct FreeWithLibPq {
  void operator()(PGresult* result) const { libpq().clear(result); }
  void operator()(PGconn* connection) const { libpq().finish(connection); }
  void operator()(PGnotify* notification) const { libpq().freemem(notification); }
};
using PostgresResult = std::unique_ptr<PGresult, FreeWithLibPq>;
using PostgresNotification = std::unique_ptr<PGnotify, FreeWithLibPq>;
using PostgresHandle = std::unique_ptr<PGconn, FreeWithLibPq>;

}  // namespace glmimage::serve
