<%@ page contentType="application/json" session="false" %><%
  String path = request.getServletPath();
  String user = request.getHeader("Remote-User");
%>{"section": "<%= (path + "/").startsWith("/admin/") ? "admin" : "elsewhere" %>",
"method": "<%= request.getMethod() %>",
"path": "<%= path %>", "prefix": "<%= request.getContextPath() %>", "scheme": "<%= request.getScheme() %>",
"host": "<%= request.getServerName() %>", "client": "<%= request.getRemoteAddr() %>",
"user": "<%= user == null ? "" : user %>"}
